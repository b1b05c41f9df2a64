"""Reads config.pbtxt, written by `config_text` or by hand."""

from typing import Any, Final

from countline_common.errors import InvalidInputError
from countline_common.triton.model_config import TUNED_KEY
from countline_models.repository.settings import MAX_BATCH_SIZE, ModelBackend, ModelTarget, Tuning

PLATFORMS: Final = {"onnxruntime_onnx": ModelBackend.ONNXRUNTIME, "tensorrt_plan": ModelBackend.TENSORRT}
"""Backends by the names of `platform`, the field that Triton had before `backend`."""


def parse_config(text: str, shown: str) -> Any:
    """Read a config.pbtxt as Triton's own `ModelConfig` message.

    Args:
        text: the file's text.
        shown: name of the file in errors.

    Raises:
        InvalidInputError: the text is not a configuration.
    """
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    try:
        return text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise InvalidInputError(
            f"{shown} is not a Triton configuration: {error}", hint="fix it, or deploy the model again"
        ) from error


def tuning_of(config: Any) -> Tuning:
    """The tuning in a configuration.

    Args:
        config: Triton's `ModelConfig`.

    Raises:
        InvalidInputError: a number in it is out of range.
    """
    batch_size, instances = config.max_batch_size, sum(group.count or 1 for group in config.instance_group)
    return Tuning(
        max_batch_size=0 if batch_size == MAX_BATCH_SIZE else batch_size,
        max_queue_delay_us=config.dynamic_batching.max_queue_delay_microseconds,
        # Triton runs one instance by default, so one instance counts as tuning only with the parameter `tuned`.
        instances=0 if instances == 1 and TUNED_KEY not in config.parameters else instances,
    )


def target_of(config: Any) -> ModelTarget:
    """Where a configuration runs its model; the CPU by default."""
    on_gpu = any(group.kind == group.KIND_GPU for group in config.instance_group)
    accelerated = config.optimization.execution_accelerators.gpu_execution_accelerator
    return ModelTarget.GPU if on_gpu or accelerated else ModelTarget.CPU


def backend_of(config: Any) -> ModelBackend:
    """The backend of a configuration.

    Raises:
        InvalidInputError: Countline does not write configurations for that backend.
    """
    stated = config.backend or PLATFORMS.get(config.platform, config.platform)
    try:
        return ModelBackend(stated)
    except ValueError as error:
        raise InvalidInputError(
            f"the model {config.name!r} runs on {stated or 'no backend'}",
            hint=f"use one of: {', '.join(ModelBackend)}",
        ) from error


def as_overrides(config: Any) -> dict[str, Any]:
    """A parsed configuration in the form of Triton's repository API (`countline_common.triton.model_config`)."""
    from google.protobuf import json_format

    fields: dict[str, Any] = json_format.MessageToDict(config, preserving_proto_field_name=True)
    return fields
