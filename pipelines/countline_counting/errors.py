"""Errors of the core. All of them are faults of what a person wrote or drew, so each one has a field and a hint.

SpecError
├── GeometryError       a line, zone, mask, anchor or ground that cannot be counted with
├── UnknownClassError   a class that the model does not have
└── GrammarError        text of the command line that cannot be read
"""

from collections.abc import Sequence

LABELS_IN_HINT = 20


class SpecError(ValueError):
    """A spec, or the text of one, that cannot be used. The message is `FIELD: PROBLEM`."""

    def __init__(self, field: str, problem: str, hint: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        """Path of the field, e.g. `lines[gate].points`."""
        self.problem = problem
        self.hint = hint


class GeometryError(SpecError):
    """A line, zone, mask, anchor, threshold or ground plane that cannot be counted with."""


class UnknownClassError(SpecError):
    """A class name that the model does not have.

    Args:
        place_id: id of the line or zone that counts the class.
        name: the name as given.
        labels: class names of the model; empty for a model without names.
    """

    def __init__(self, place_id: str, name: str, labels: Sequence[str]) -> None:
        known = ", ".join(labels[:LABELS_IN_HINT]) + (", …" if len(labels) > LABELS_IN_HINT else "")
        super().__init__(
            place_id,
            f"the model has no class {name!r}",
            f"choose from: {known}" if labels else "give the number of the class; this model names none",
        )
        self.field = f"{place_id}.classes"


class GrammarError(SpecError):
    """Text of the command line that cannot be read; `field` is the option, e.g. `--line gate`."""
