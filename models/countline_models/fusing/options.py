"""What a caller may choose when a network is fused."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from countline_common.errors import InvalidInputError
from countline_models.contract import DEFAULT_SCORE_THRESHOLD
from countline_models.heads import Preprocessing
from countline_models.onnx.network import BoxUnit, NetworkOptions, ScoreKind

ChannelOrder = Literal["rgb", "bgr"]
ScaleOrder = Literal["scale-first", "mean-first"]


@dataclass(frozen=True, slots=True)
class FuseOptions:
    """Choices about a contract model; None leaves a choice to the network or its head."""

    size_hw: tuple[int, int] | None = None
    """Height and width of the input, in pixels; None keeps the exported size."""
    max_detections: int = 100
    nms_iou: float | None = None
    """Of two boxes of one class that overlap more, one is dropped. A value adds suppression to heads that need none."""
    score_floor: float = 0.05
    """Detections below it are dropped inside the graph. It is low because trackers also use weak detections."""
    score_threshold: float = DEFAULT_SCORE_THRESHOLD
    """Written into the model; a detection below it does not start a track."""
    classes: tuple[str, ...] | None = None
    """Names or indices of the classes to keep, in the order of the result."""
    boxes: BoxUnit | None = None
    scores: ScoreKind | None = None
    channel_order: ChannelOrder | None = None
    scale: float | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    scale_order: ScaleOrder | None = None
    """Whether the scale is applied before or after the mean is subtracted."""

    def __post_init__(self) -> None:
        for name, value in (("nms_iou", self.nms_iou), ("score_floor", self.score_floor)):
            if value is not None and not 0.0 < value < 1.0:
                raise InvalidInputError(f"{name} must lie between 0 and 1, not {value:g}")
        if not self.score_floor <= self.score_threshold < 1.0:
            raise InvalidInputError(
                f"the score threshold {self.score_threshold:g} must lie between the floor {self.score_floor:g} and 1"
            )
        if self.max_detections < 1:
            raise InvalidInputError("max_detections must be at least 1")
        if self.std is not None and not all(value > 0.0 for value in self.std):
            raise InvalidInputError(f"std must be positive, not {self.std}")
        if self.scale is not None and not self.scale > 0.0:
            raise InvalidInputError(f"scale must be positive, not {self.scale:g}")

    def network_options(self, labels: tuple[str, ...] | None) -> NetworkOptions:
        """What these options state about the network."""
        return NetworkOptions(self.size_hw, labels, self.boxes, self.scores)

    def preprocessing(self, usual: Preprocessing) -> Preprocessing:
        """The preprocessing of the head, with the choices of these options."""
        chosen: dict[str, Any] = {
            "bgr": None if self.channel_order is None else self.channel_order == "bgr",
            "scale": self.scale,
            "mean": self.mean,
            "std": self.std,
            "mean_first": None if self.scale_order is None else self.scale_order == "mean-first",
        }
        return replace(usual, **{name: value for name, value in chosen.items() if value is not None})
