"""Detector heads: one module for each family of networks. `base.Head` is their interface."""

from typing import Final

from countline_common.errors import InvalidInputError
from countline_models.heads.base import Candidates, DecodePlan, Head, Preprocessing
from countline_models.heads.centernet import CenterNetHead
from countline_models.heads.detectnet import DetectNetHead
from countline_models.heads.end2end import End2EndHead
from countline_models.heads.nanodet import NanoDetHead
from countline_models.heads.rtdetr import RtDetrHead
from countline_models.heads.ssd import SsdHead
from countline_models.heads.yolo import YOLOV5, YOLOV8
from countline_models.heads.yolox import YoloxHead
from countline_models.onnx.network import Network

_ALL: Final[tuple[Head, ...]] = (
    YoloxHead(),
    YOLOV5,
    YOLOV8,
    End2EndHead(),
    RtDetrHead(),
    SsdHead(),
    CenterNetHead(),
    NanoDetHead(),
    DetectNetHead(),
)
HEADS: Final[dict[str, Head]] = {head.name: head for head in _ALL}
"""All heads by their name in `--head`."""


def head_named(name: str) -> Head:
    """The head of a name, or the head that decodes an architecture of that name.

    Raises:
        InvalidInputError: there is none.
    """
    for head in HEADS.values():
        if name.lower() in {head.name, *head.aliases}:
            return head
    raise InvalidInputError(f"unknown head {name!r}", hint=f"choose one of: {', '.join(sorted(HEADS))}")


def recognise(network: Network) -> Head:
    """The only head that fits a network.

    Raises:
        InvalidInputError: no head fits, or more than one; or the network cannot be run.
    """
    fitting = [head for head in HEADS.values() if head.recognises(network)]
    if len(fitting) == 1:
        return fitting[0]
    among = [head.name for head in fitting] or sorted(HEADS)
    found = f"it could be {' or '.join(among)}" if fitting else "no known head fits"
    raise InvalidInputError(
        f"the kind of this network cannot be recognised from its graph ({network.signature}): {found}",
        hint=f"use --head with one of: {', '.join(among)}{'; or give --labels to distinguish them' if fitting else ''}",
    )


__all__ = ["HEADS", "Candidates", "DecodePlan", "Head", "Preprocessing", "head_named", "recognise"]
