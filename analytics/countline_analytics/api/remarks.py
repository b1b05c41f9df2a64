"""The remarks of the .proto files, for people who read the OpenAPI document.

Descriptors that protoc writes into Python modules carry no remarks; the files lie beside them, so they are read from
there.
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
    """Remarks by name: `Camera`, `Camera.camera_id`, `CameraService.GetCamera`.

    Args:
        file: name of a file of the contract, such as `countline/v1/cameras.proto`.
    """
    return parse((files("countline.v1") / file.rpartition("/")[2]).read_text())


def parse(text: str) -> dict[str, str]:
    """Remarks of a file that is laid out as `buf format` does: one thing a line, its remark above it."""
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
    """What a line declares; empty where it declares nothing."""
    if depth == 0:
        match = _BLOCK.match(line)
        return match["name"] if match else ""
    match = (_METHOD.match(line) or _FIELD.match(line)) if depth == 1 else None
    return f"{block}.{match['name']}" if match else ""
