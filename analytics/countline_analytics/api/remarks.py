"""Reads the remarks of the .proto files for the OpenAPI document.

The descriptors in generated Python modules carry no remarks. The .proto files lie beside these modules.
"""

import re
from functools import cache
from importlib.resources import files
from typing import Final

_STRING: Final = re.compile(r'"[^"]*"')
_BLOCK: Final = re.compile(r"^(?:message|service|enum) (?P<name>\w+) \{")
_METHOD: Final = re.compile(r"^rpc (?P<name>\w+)\(")
_FIELD: Final = re.compile(r"^(?:repeated |optional )?[\w.]+ (?P<name>\w+) = \d+")


@cache
def remarks(file: str) -> dict[str, str]:
    """Return remarks by name, such as `Camera`, `Camera.camera_id`, `CameraService.GetCamera`.

    Args:
        file: a file of the contract, such as `countline/v1/cameras.proto`.
    """
    return parse((files("countline.v1") / file.rpartition("/")[2]).read_text())


def parse(text: str) -> dict[str, str]:
    """Return the remarks of a file in the layout of `buf format`: one declaration a line, its remark above."""
    found: dict[str, str] = {}
    block, depth = "", 0
    lines: list[str] = []
    for line in (raw.strip() for raw in text.splitlines()):
        if line.startswith("//"):
            lines.append(line.removeprefix("//").strip())
            continue
        name = _name(line, block, depth)
        if name and lines:
            found[name] = " ".join(lines)
        lines = []
        code = _STRING.sub("", line)
        if depth == 0 and (match := _BLOCK.match(line)):
            block = match["name"]
        depth += code.count("{") - code.count("}")
    return found


def _name(line: str, block: str, depth: int) -> str:
    """Return the name that a line declares; empty if it declares none."""
    if depth == 0:
        match = _BLOCK.match(line)
        return match["name"] if match else ""
    match = (_METHOD.match(line) or _FIELD.match(line)) if depth == 1 else None
    return f"{block}.{match['name']}" if match else ""
