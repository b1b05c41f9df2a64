"""The YAML file of nvtracker. The real library ignores unknown keys; this reader refuses them."""

from pathlib import Path
from typing import Any

import yaml
from tests.doubles.deepstream.facts import tables

_FIRST_LINE = "%YAML:1.0"


class TrackerConfigError(Exception):
    """The low-level library cannot use this configuration."""


def read_config(path: Path) -> dict[str, dict[str, Any]]:
    """Sections of a tracker's file.

    Raises:
        TrackerConfigError: the file is missing, lacks OpenCV's first line, or has a section, key or value that the
            library does not know.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise TrackerConfigError(f"cannot read ll-config-file {path}: {error}") from error
    first, _, rest = text.partition("\n")
    if first.strip() != _FIRST_LINE:
        raise TrackerConfigError(f"{path}: the first line must be {_FIRST_LINE}")
    try:
        sections = yaml.safe_load(rest.replace("---\n", "", 1)) or {}
    except yaml.YAMLError as error:
        raise TrackerConfigError(f"{path}: {error}") from error
    for name, section in sections.items():
        _check_section(path, name, section or {})
    if "TargetManagement" not in sections:
        raise TrackerConfigError(f"{path}: TargetManagement is missing")
    return {name: section or {} for name, section in sections.items()}


def _check_section(path: Path, name: str, section: dict[str, Any]) -> None:
    known = tables()["tracker"].get(name)
    if known is None:
        raise TrackerConfigError(f"{path}: unknown section {name}")
    for key, value in section.items():
        if key not in known:
            raise TrackerConfigError(f"{path}: unknown key {name}.{key}")
        if not _fits(value, known[key]):
            raise TrackerConfigError(f"{path}: {name}.{key} takes {known[key]['type']}, not {value!r}")


def _fits(value: Any, spec: dict[str, Any]) -> bool:
    kind = spec["type"]
    if kind == "int":
        in_range = "range" not in spec or spec["range"][0] <= value <= spec["range"][1]
        return (
            isinstance(value, int) and not isinstance(value, bool) and in_range and value in spec.get("enum", [value])
        )
    if kind == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "bool":
        return value in (0, 1)
    return kind != "string" or isinstance(value, str)
