"""What an administrator has set, as one process knows it now."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from countline_common.administration.vocabulary import SETTINGS
from countline_common.errors import InvalidInputError

_Listener = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class MaintenanceState:
    """Whether changes are refused."""

    on: bool = False
    reason: str = ""
    changed_by: str = ""
    changed_at: float = 0.0
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class AdministrationState:
    """Everything that is set while the system runs."""

    values: Mapping[str, str] = field(default_factory=dict)
    """Settings that were changed."""
    maintenance: MaintenanceState = MaintenanceState()

    def to_bytes(self) -> bytes:
        """The state as JSON."""
        maintenance = {name: getattr(self.maintenance, name) for name in _MAINTENANCE_FIELDS}
        return json.dumps({"values": dict(sorted(self.values.items())), "maintenance": maintenance}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "AdministrationState":
        """Read the state. Unknown settings and values, of another release, are left out.

        Raises:
            ValueError: the data is no such state.
        """
        try:
            found = json.loads(data)
            values = {str(name): str(value) for name, value in found["values"].items()}
            maintenance = {name: found["maintenance"][name] for name in _MAINTENANCE_FIELDS}
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError("this is no state of the administration") from error
        return cls(dict(filter(_is_known, values.items())), MaintenanceState(**maintenance))


_MAINTENANCE_FIELDS: Final = ("on", "reason", "changed_by", "changed_at")


def _is_known(item: tuple[str, str]) -> bool:
    name, value = item
    try:
        return name in SETTINGS and SETTINGS[name].parse(value) == value
    except InvalidInputError:
        return False


class CurrentSettings:
    """The settings of one process.

    Args:
        base: values of this process without a change, where its environment sets another one than the default.
    """

    def __init__(self, base: Mapping[str, Any] | None = None) -> None:
        self.base = {name: str(value) for name, value in (base or {}).items()}
        self.state = AdministrationState()
        self._listeners: dict[str, _Listener] = {}

    def word(self, name: str) -> str:
        """Return the value of a setting."""
        return self.state.values.get(name) or self.base.get(name) or SETTINGS[name].default

    def number(self, name: str) -> int:
        """Return the value of a setting that is a number."""
        return int(self.word(name))

    def names(self, name: str) -> frozenset[str]:
        """Return the value of a setting that is a list of names."""
        return frozenset(self.word(name).split(",")) - {""}

    def listen(self, name: str, changed: _Listener) -> None:
        """Call a function with each new value of a setting."""
        self._listeners[name] = changed

    def replace(self, state: AdministrationState) -> None:
        """Take a new state."""
        before = {name: self.word(name) for name in self._listeners}
        self.state = state
        for name, changed in self._listeners.items():
            if self.word(name) != before[name]:
                changed(self.word(name))
