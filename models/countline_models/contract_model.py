"""What a contract model declares; imports neither ONNX nor ONNX Runtime."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContractModel:
    """What a model declares that obeys the detection contract."""

    height: int
    """Of the input, in pixels."""
    width: int
    """Of the input, in pixels."""
    max_detections: int
    labels: tuple[str, ...]
    """Class names by index; empty if the file has none."""
    score_threshold: float
