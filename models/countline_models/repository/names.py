"""Names of models, versions and files in a repository."""

import re
from typing import Final

from countline_common.errors import InvalidInputError
from countline_common.triton.models import NAME_HINT, NAME_PATTERN

STAGING_PREFIX: Final = "countline-staging-"
MODEL_FILE: Final = "model.onnx"
MODEL_FILES: Final = (MODEL_FILE, "model.plan")
"""Names that a version's file may have: ours, or that of a TensorRT plan (`countline_models.deploy.tensorrt`)."""
CONFIG_FILE: Final = "config.pbtxt"
LABELS_FILE: Final = "labels.txt"
VERSION_PATTERN: Final = re.compile(r"[1-9][0-9]{0,9}")


def check_name(name: str) -> None:
    """Check that Triton and the file system accept a name, and that it is not a name of staging.

    Raises:
        InvalidInputError: the name cannot be used.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidInputError(f"{name!r} cannot be the name of a model", hint=NAME_HINT)
    if name.startswith(STAGING_PREFIX):
        raise InvalidInputError(
            f"{name!r} cannot be the name of a model: {STAGING_PREFIX}… is reserved", hint="choose another --name"
        )


def check_version(version: int) -> None:
    """Check the number of a version.

    Raises:
        InvalidInputError: it is below 1.
    """
    if version < 1:
        raise InvalidInputError(f"{version} is not a version", hint="versions are numbers from 1")
