"""What halving and doubling a constant does to counts: the figures, and the file in which the repository keeps them."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

PATH = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Figures:
    """Counts over all sequences, and the cases of selftest."""

    error: int
    f1: float
    failed: int
    """Number of cases that fail."""


@dataclass(frozen=True)
class Change:
    """The figures with one constant halved and doubled; None if the code refuses the value."""

    value: float
    """Of the constant as it is."""
    halved: Figures | None
    doubled: Figures | None


@dataclass
class Sensitivity:
    """The figures of all constants that were measured."""

    rule_version: int = 0
    sequences: int = 0
    true: int = 0
    """Number of true crossings."""
    today: Figures = field(default_factory=lambda: Figures(0, 0.0, 0))
    changes: dict[str, Change] = field(default_factory=dict)
    """By `module.name`."""

    def cells(self, key: str, value: float) -> tuple[str, str]:
        """Return the two cells of a constant; a constant with another value was not measured."""
        change = self.changes.get(key)
        if change is None or change.value != value:
            return "not measured", "not measured"
        return self._cell(change.halved), self._cell(change.doubled)

    def _cell(self, found: Figures | None) -> str:
        today = self.today
        if found is None:
            return "refused"
        if found == today:
            return "="
        cell = f"{found.error - today.error:+d}, F1 {found.f1 - today.f1:+.3f}"
        return cell + (f", {found.failed} cases" if found.failed else "")


def read(path: Path = PATH) -> Sensitivity:
    """Read the stored figures; none if there is no file."""
    if not path.exists():
        return Sensitivity()
    stored = json.loads(path.read_text())
    changes = {
        key: Change(value, *(Figures(*each) if each else None for each in sides))
        for key, (value, *sides) in stored.pop("changes").items()
    }
    return Sensitivity(**{**stored, "today": Figures(*stored["today"])}, changes=changes)


def write(found: Sensitivity, path: Path = PATH) -> None:
    """Store the figures, one line for each constant."""

    def numbers(figures: Figures | None) -> list[float] | None:
        return list(asdict(figures).values()) if figures else None

    head = {"rule_version": found.rule_version, "sequences": found.sequences, "true": found.true}
    lines = [f'  "{name}": {json.dumps(value)},' for name, value in {**head, "today": numbers(found.today)}.items()]
    rows = [
        f'    "{key}": {json.dumps([change.value, numbers(change.halved), numbers(change.doubled)])}'
        for key, change in sorted(found.changes.items())
    ]
    path.write_text("\n".join(["{", *lines, '  "changes": {', ",\n".join(rows), "  }", "}"]) + "\n")
