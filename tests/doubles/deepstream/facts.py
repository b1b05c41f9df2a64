"""The tables of `facts.yaml` for one release of DeepStream."""

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PATH = Path(__file__).with_name("facts.yaml")
RELEASES = ("7.1", "8.0")
GSTREAMER_TYPES = ("GstBin", "GstElement", "GstBaseTransform", "GstVideoDecoder")


@functools.cache
def tables() -> dict[str, Any]:
    """Everything in the file."""
    return yaml.load(PATH.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@dataclass(frozen=True)
class Facts:
    """The facts of one release.

    `doubtful` includes properties whose first release is not known for certain ("after 6.3, present in 9.0").
    """

    release: str
    doubtful: bool = True

    def __post_init__(self) -> None:
        if self.release not in RELEASES:
            raise ValueError(f"the double knows the releases {', '.join(RELEASES)}, not {self.release!r}")

    def properties(self, element: str) -> dict[str, dict[str, Any]]:
        """Name to `type`, `default`, `range`, `enum`, `writable`."""
        entry = tables()["elements"][element]
        found = {
            name: copy.deepcopy(spec) for name, spec in entry["properties"].items() if self._has(spec.get("since"))
        }
        if self.release == "7.1":
            _apply_differences(found, entry.get("differences_7_1", {}))
        return found

    def _has(self, since: str | None) -> bool:
        if since is None or since.startswith("<=") or since in RELEASES[: RELEASES.index(self.release) + 1]:
            return True
        if since[0].isdigit():
            return float(since) <= float(self.release)
        return self.doubtful

    def pyds_names(self) -> set[str]:
        """Classes and functions that the module has, enums apart."""
        pyds = tables()["pyds"]
        later = {name for name, entry in pyds["later_classes"].items() if self._has(entry["since"])}
        return {*pyds["classes"], *pyds["other_classes"], *later, *pyds["functions"]}

    def meta_types(self) -> list[str]:
        """Members of NvDsMetaType."""
        names = list(tables()["pyds"]["enums"]["NvDsMetaType"])
        if self.release != "7.1":
            names += ["NVDS_FRAME_META_NVDSANALYTICS", "NVDS_OBJ_META_NVDSANALYTICS"]
        return names


def _apply_differences(properties: dict[str, dict[str, Any]], differences: Mapping[str, Any]) -> None:
    for name in differences.get("absent", ()):
        properties.pop(name, None)
    for name, changed in differences.items():
        if name in properties:
            properties[name].update(changed)
