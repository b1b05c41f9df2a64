"""The demo detector's network: a narrow residual backbone, a feature pyramid, and one head.

The head works at an eighth of the picture's size and answers four times as many values per cell. Sub-pixel convolution
arranges them at a quarter of the size, because people far away stand close to each other, and a head at that resolution
would cost four times as much. For the same reason it also gets the features of the stem. For each class, every output
cell answers the probability that it holds an object's centre, and the distances to the sides of the object's box.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE: Final = 4
"""Pixels of the picture per cell of the output, in both directions."""
CLASSES: Final = 2
PRIOR: Final = 0.01
"""Share of cells that an untrained network takes for a centre; it stabilises the first steps of training."""
REACH_PX: Final = 16.0
"""Unit of the predicted distances from a cell to the sides of the box, on a logarithmic scale."""
INPUT_SCALE: Final = 1 / 64
"""Scales bytes to a useful range; the first batch normalisation removes the mean."""


def _conv(
    inputs: int, outputs: int, size: int, *, stride: int = 1, padding: int | None = None, relu: bool = True
) -> nn.Sequential:
    padding = size // 2 if padding is None else padding
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, size, stride, padding, bias=False),
        nn.BatchNorm2d(outputs, momentum=0.03),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


class _Residual(nn.Module):  # type: ignore[misc]  # PyTorch is absent where types are checked
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(channels, channels, 3), _conv(channels, channels, 3, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.body(x))


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(_conv(inputs, outputs, 3, stride=2), *(_Residual(outputs) for _ in range(blocks)))


class DemoDetector(nn.Module):  # type: ignore[misc]  # PyTorch is absent where types are checked
    """Computes maps of centres and distances from pictures."""

    def __init__(self, widths: tuple[int, int, int, int] = (32, 48, 80, 128), neck: int = 64) -> None:
        super().__init__()
        quarter, eighth, sixteenth, last = widths
        self.stem = _conv(3, quarter, 6, stride=4, padding=1)
        self.stages = nn.ModuleList(
            [_stage(quarter, eighth, 1), _stage(eighth, sixteenth, 2), _stage(sixteenth, last, 1)]
        )
        self.laterals = nn.ModuleList([nn.Conv2d(width, neck, 1) for width in widths[1:]])
        self.merges = nn.ModuleList([_conv(neck, neck, 3) for _ in range(2)])
        self.fine = nn.Conv2d(quarter, neck, 2, stride=2)
        self.trunk = nn.Sequential(_conv(neck, neck, 3), _conv(neck, neck, 3))
        self.head = nn.Conv2d(neck, 4 * (CLASSES + 4), 1)
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias[: 4 * CLASSES], -math.log((1 - PRIOR) / PRIOR))
        nn.init.constant_(self.head.bias[4 * CLASSES :], 0.0)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Maps for pictures (B, 3, H, W), 0 to 255 as float; H and W are multiples of 32.

        Returns:
            logits of centres (B, CLASSES, H / 4, W / 4), and distances in pixels from the middle of each cell to
            the left, top, right and bottom side of the box, (B, 4, H / 4, W / 4).
        """
        return self.maps(pictures * INPUT_SCALE)

    def maps(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """Like `forward`, for pictures already multiplied by `INPUT_SCALE`."""
        quarter = self.stem(scaled)
        eighth = self.stages[0](quarter)
        sixteenth = self.stages[1](eighth)
        merged = self.laterals[2](self.stages[2](sixteenth))
        for level, feature in ((1, sixteenth), (0, eighth)):
            above = functional.interpolate(merged, scale_factor=2.0, mode="nearest")
            detail = self.fine(quarter) if level == 0 else 0.0
            merged = self.merges[level](above + self.laterals[level](feature) + detail)
        maps = functional.pixel_shuffle(self.head(self.trunk(merged)), 2).float()
        return maps[:, :CLASSES], torch.exp(maps[:, CLASSES:].clamp(-5.0, 4.0)) * REACH_PX
