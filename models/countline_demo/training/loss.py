"""The losses: a focal loss on the centres, a generalised-IoU loss on the boxes."""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from countline_demo.training.network import STRIDE

BOX_WEIGHT: Final = 6.0


def centre_loss(logits: Tensor, centres: Tensor, counted: Tensor) -> Tensor:
    """Quality focal loss (Li et al. 2020, Generalized Focal Loss, eq. 5 with beta 2), summed.

    The network learns the height of the whole bump, not one cell: the middle of a walking figure is uncertain by a
    cell, and a network that had to name one cell would be sure of none.

    Args:
        logits: (B, C, h, w).
        centres: (B, C, h, w), 1 at centres and falling off around them.
        counted: (B, C, h, w), 0 in cells that are not learned.
    """
    off = (centres - torch.sigmoid(logits)) ** 2
    return (off * functional.binary_cross_entropy_with_logits(logits, centres, reduction="none") * counted).sum()


def box_loss(distances: Tensor, boxes: Tensor, weights: Tensor) -> Tensor:
    """1 - GIoU (Rezatofighi et al. 2019) at the cells that have a box, summed with the weights.

    Args:
        distances: (B, 4, h, w) pixels to the left, top, right and bottom side.
        boxes: (B, 4, h, w) true boxes in pixels.
        weights: (B, h, w).
    """
    batch, line, column = torch.nonzero(weights, as_tuple=True)
    predicted, true = distances[batch, :, line, column], boxes[batch, :, line, column]
    middle = torch.stack([column, line], dim=1) * STRIDE + STRIDE / 2
    low, high = middle - predicted[:, :2], middle + predicted[:, 2:]
    shared = (torch.minimum(high, true[:, 2:]) - torch.maximum(low, true[:, :2])).clamp(min=0).prod(dim=1)
    union = (high - low).prod(dim=1) + (true[:, 2:] - true[:, :2]).prod(dim=1) - shared
    hull = (torch.maximum(high, true[:, 2:]) - torch.minimum(low, true[:, :2])).prod(dim=1)
    loss = 1 - shared / union + (hull - union) / hull
    return (loss * weights[batch, line, column]).sum()


def total_loss(
    predicted: tuple[Tensor, Tensor], true: tuple[Tensor, Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of a batch and its two parts, each per object: (total, centres, boxes)."""
    logits, distances = predicted
    centres, counted, boxes, weights = true
    found = (centres >= 0.9999).sum().clamp(min=1)  # one cell per object has exactly 1
    on_centres = centre_loss(logits, centres, counted) / found
    on_boxes = box_loss(distances, boxes, weights) / weights.sum().clamp(min=1)
    return on_centres + BOX_WEIGHT * on_boxes, on_centres, on_boxes
