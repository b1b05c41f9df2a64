"""How long to wait before a part that died is started again. Pure: the caller tells how long it ran."""

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Waits that double with each death, up to a bound, and begin anew after a long enough life."""

    first_s: float = 0.5
    factor: float = 2.0
    most_s: float = 30.0
    healthy_after_s: float = 60.0
    deaths: int = 0
    """In a row, without a healthy life between them."""

    def next_s(self, lived_s: float) -> float:
        """Seconds to wait after a life of `lived_s` seconds."""
        if lived_s >= self.healthy_after_s:
            self.deaths = 0
        wait_s = min(self.first_s * self.factor**self.deaths, self.most_s)
        self.deaths += 1
        return wait_s
