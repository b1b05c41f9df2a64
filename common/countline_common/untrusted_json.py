"""JSON from outside, with a bound on its depth.

`json.loads` stops deep nesting only at Python's recursion limit. If the garbage collector runs at that moment, the
finalizers that it calls fail.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

MAX_DEPTH: Final = 64
_STRINGS_AND_BRACKETS: Final = re.compile(r'"(?:[^"\\]+|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def parse_json(text: str, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """Parse JSON from outside.

    Args:
        text: the JSON.
        parse_constant: called for NaN and infinity, as by `json.loads`.

    Raises:
        ValueError: the text is not JSON, or lists and objects are nested more than `MAX_DEPTH` deep.
    """
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(text)
    return json.loads(text, parse_constant=parse_constant)


def _check_depth(text: str) -> None:
    depth = 0
    for found in _STRINGS_AND_BRACKETS.finditer(text):
        if found[0] in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"lists and objects are nested more than {MAX_DEPTH} deep")
        elif found[0] in "]}":
            depth -= 1
