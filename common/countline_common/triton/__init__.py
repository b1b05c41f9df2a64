"""Triton as every room sees it: the models that it serves, typed calls to it, and its model configurations.

`models` says what a model is, `connection` is the one place that talks to the untyped tritonclient (import it where it
is used: it is heavy), `model_config` lies between Triton's configurations and ours and is pure.
"""

from countline_common.triton.models import (
    InferenceLostError,
    ModelInfo,
    ModelOverrides,
    ModelRef,
    ModelRefusedError,
)

__all__ = ["InferenceLostError", "ModelInfo", "ModelOverrides", "ModelRef", "ModelRefusedError"]

from typing import Final

NO_TELEMETRY: Final = "ORT_DISABLE_TELEMETRY"
"""Environment variable. ONNX Runtime 1.32 sends events to its makers otherwise, also from a Linux server."""
