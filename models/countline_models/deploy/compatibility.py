"""Whether a new version of a model can replace the others; pure."""

from countline_common.errors import InvalidInputError
from countline_models.contract_model import ContractModel


def check_interchangeable(name: str, new: ContractModel, old: ContractModel) -> None:
    """Check that cameras can change from the other versions of a model to a new one without being edited.

    Raises:
        InvalidInputError: input, number of detections or labels differ; the message says which.
    """
    differences = _differences(new, old)
    if differences:
        raise InvalidInputError(
            f"this model cannot be a version of {name!r}: {'; '.join(differences)}",
            hint="deploy it under another --name, and give that to the cameras",
        )


def _differences(new: ContractModel, old: ContractModel) -> list[str]:
    differences = []
    if (new.width, new.height) != (old.width, old.height):
        differences.append(f"its input is {new.width}x{new.height}, not {old.width}x{old.height}")
    if new.max_detections != old.max_detections:
        differences.append(f"it answers {new.max_detections} detections, not {old.max_detections}")
    if new.labels != old.labels:
        differences.append(f"its labels are {_shown(new.labels)}, not {_shown(old.labels)}")
    return differences


def _shown(labels: tuple[str, ...]) -> str:
    return (", ".join(labels[:8]) or "none") + (f", ... ({len(labels)})" if len(labels) > 8 else "")
