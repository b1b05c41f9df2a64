"""Detector heads: what is particular to each family of networks, one module each (`base.Head` is the contract)."""

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
"""Every head by the name that `--head` gives it."""


def head_named(name: str) -> Head:
    """The head of that name, or the one that decodes the architecture of that name.

    Raises:
        InvalidInputError: there is none.
    """
    for head in HEADS.values():
        if name.lower() in {head.name, *head.aliases}:
            return head
    raise InvalidInputError(f"there is no head {name!r}", hint=f"choose one of: {', '.join(sorted(HEADS))}")


def recognise(network: Network) -> Head:
    """The one head that a network looks like.

    Raises:
        InvalidInputError: none, or more than one; also where the network cannot be run to find out.
    """
    fitting = [head for head in HEADS.values() if head.recognises(network)]
    if len(fitting) == 1:
        return fitting[0]
    among = [head.name for head in fitting] or sorted(HEADS)
    found = f"it could be {' or '.join(among)}" if fitting else "no known head fits"
    raise InvalidInputError(
        f"what kind of network this is cannot be told from its graph ({network.signature}): {found}",
        hint=f"say it: --head with one of: {', '.join(among)}{'; --labels may tell them apart too' if fitting else ''}",
    )


__all__ = ["HEADS", "Candidates", "DecodePlan", "Head", "Preprocessing", "head_named", "recognise"]
