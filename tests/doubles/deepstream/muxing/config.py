"""The key file of the muxer."""

import configparser
from pathlib import Path

_CONFIG_KEYS = {
    "property": "algorithm-type batch-size adaptive-batching enable-source-rate-control max-fps-control "
    "overall-max-fps-n overall-max-fps-d overall-min-fps-n overall-min-fps-d max-same-source-frames",
    "source-config": "max-fps-n max-fps-d min-fps-n min-fps-d priority max-num-frames-per-batch",
}


class MuxConfigError(Exception):
    """The key file of the muxer is not valid."""


def read_config(path: Path) -> dict[str, str]:
    """The group [property] of a key file.

    Raises:
        MuxConfigError: the file is missing, is no key file, or has a group or key that the muxer does not know.
    """
    parser = configparser.ConfigParser()
    try:
        if not parser.read(path):
            raise MuxConfigError(f"cannot read {path}")
    except configparser.Error as error:
        raise MuxConfigError(str(error)) from error
    for section in parser.sections():
        kind = "source-config" if section.startswith("source-config-") else section
        unknown = set(parser[section]) - set(_CONFIG_KEYS.get(kind, "").split())
        if kind not in _CONFIG_KEYS or unknown:
            raise MuxConfigError(f"{path}: unknown in [{section}]: {', '.join(sorted(unknown)) or 'the group'}")
    return dict(parser["property"]) if "property" in parser else {}
