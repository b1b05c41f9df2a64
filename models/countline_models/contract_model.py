"""What a model that obeys the detection contract says of itself; imports neither ONNX nor ONNX Runtime."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContractModel:
    """What a model that obeys the contract says of itself."""

    height: int
    """Of the input, in pixels."""
    width: int
    max_detections: int
    labels: tuple[str, ...]
    """Class names by index; empty where the file carries none."""
    score_threshold: float
