"""Detector heads: what is particular to each family of networks, one module each (`base.Head` is the contract)."""

from typing import Final

from countline_common.errors import InvalidInputError
from countline_models.heads.base import Candidates, Head, Preprocessing, Signature
from countline_models.heads.yolox import YoloxHead

HEADS: Final[dict[str, Head]] = {head.name: head for head in (YoloxHead(),)}
"""Every head by the name that `--head` gives it."""


def head_named(name: str) -> Head:
    """The head of that name.

    Raises:
        InvalidInputError: there is none.
    """
    if name not in HEADS:
        raise InvalidInputError(f"there is no head {name!r}", cure=f"choose one of: {', '.join(sorted(HEADS))}")
    return HEADS[name]


def recognise(signature: Signature) -> Head:
    """The one head that a network looks like.

    Raises:
        InvalidInputError: none, or more than one.
    """
    fitting = [head for head in HEADS.values() if head.recognises(signature)]
    if len(fitting) == 1:
        return fitting[0]
    found = f"it could be {' or '.join(head.name for head in fitting)}" if fitting else "no known head fits"
    raise InvalidInputError(
        f"what kind of network this is cannot be told from its shape ({signature}): {found}",
        cure=f"say it: --head with one of: {', '.join(sorted(HEADS))}",
    )


__all__ = ["HEADS", "Candidates", "Head", "Preprocessing", "Signature", "head_named", "recognise"]
