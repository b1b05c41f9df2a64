"""Ids made of names. Pure."""

import unicodedata
from collections.abc import Collection
from typing import Final

MAX_ID: Final = 63
_SUFFIX: Final = 10
"""Room for a hyphen and a number."""
FALLBACK: Final = "camera"
"""For names without a letter or digit of ASCII, such as 入口."""


def id_of_name(name: str, taken: Collection[str]) -> str:
    """Return an id for a camera of this name that no other camera has: `main-gate`, else `main-gate-2`, and so on."""
    base = _slug(name) or FALLBACK
    number, found = 1, base
    while found in taken:
        number += 1
        suffix = f"-{number}"
        found = base[: MAX_ID - len(suffix)].rstrip("-") + suffix
    return found


def stem_of(name: str) -> str:
    """Return what each id that `id_of_name` makes of a name begins with: long names are cut for the number."""
    return id_of_name(name, ())[: MAX_ID - _SUFFIX].rstrip("-")


def _slug(name: str) -> str:
    """Return the letters and digits of a name, without accents and in lower case, with hyphens between the words."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode().lower()
    words = "".join(character if character.isalnum() else " " for character in plain).split()
    return "-".join(words)[:MAX_ID].strip("-")
