"""The one writer of config.pbtxt: what Triton is told about a contract model.

The configuration says what any machine needs and nothing of one machine: no KIND_CPU, no thread counts. It is the same
text for the same model, so that a repository under version control changes only when a model does. What a machine was
tuned to, and what a GPU needs, stands in it only where it was asked for. A tuned model carries the parameter `tuned`;
nobody overrides its instances when it is loaded.

For a GPU, the backend `onnxruntime` of NVIDIA's Triton is given TensorRT as its execution provider (names of the
parameters: README of triton-inference-server/onnxruntime_backend). An engine is built when a model is loaded and first
asked, and kept in `ENGINE_CACHE`, where the container must be able to write. No shapes of a profile are given: a graph
that TensorRT takes only in part would need those of every inner tensor. The range of batches grows with what is asked
instead, so that warming up with one frame and with a full batch builds the engine for all sizes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from countline_common.errors import InvalidInputError
from countline_common.triton.model_config import INPUT_NAME, OUTPUT_NAME, TUNED_KEY
from countline_models.contract_model import ContractModel

MAX_BATCH_SIZE: Final = 8
MOST_BATCH_SIZE: Final = 256
MOST_INSTANCES: Final = 64
MOST_QUEUE_DELAY_US: Final = 1_000_000
TENSORRT_WORKSPACE_BYTES: Final = 1 << 30
ENGINE_CACHE: Final = "/var/cache/countline/tensorrt"
"""In Triton's container; a volume, or every start builds the engines anew."""

CONFIG: Final = """\
name: "{name}"
backend: "{backend}"
max_batch_size: {max_batch_size}
input [
  {{
    name: "{input_name}"
    data_type: TYPE_UINT8
    dims: [ {height}, {width}, 3 ]
  }}
]
output [
  {{
    name: "{output_name}"
    data_type: TYPE_FP32
    dims: [ {max_detections}, 6 ]
    label_filename: "labels.txt"
  }}
]
{batching}
parameters {{
  key: "score_threshold"
  value {{ string_value: "{score_threshold:.2f}" }}
}}
"""
PARAMETER: Final = """\
parameters {{
  key: "{key}"
  value {{ string_value: "{value}" }}
}}
"""
ACCELERATOR: Final = """\
optimization {{
  execution_accelerators {{
    gpu_execution_accelerator [
      {{
        name: "tensorrt"
        parameters {{ key: "precision_mode" value: "FP16" }}
        parameters {{ key: "max_workspace_size_bytes" value: "{workspace_bytes}" }}
        parameters {{ key: "trt_engine_cache_enable" value: "1" }}
        parameters {{ key: "trt_engine_cache_path" value: "{engine_cache}" }}
      }}
    ]
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How Triton runs a model on one machine; 0 for the default of the model or of Triton.

    Raises:
        InvalidInputError: a number that no machine can mean.
    """

    max_batch_size: int = 0
    max_queue_delay_us: int = 0
    """How long Triton holds a request back to join it with others, in microseconds."""
    instances: int = 0

    def __post_init__(self) -> None:
        limits = {
            "max_batch_size": MOST_BATCH_SIZE,
            "max_queue_delay_us": MOST_QUEUE_DELAY_US,
            "instances": MOST_INSTANCES,
        }
        for field, most in limits.items():
            value = getattr(self, field)
            if not 0 <= value <= most:
                raise InvalidInputError(
                    f"{field} is {value}, and must lie between 0 and {most}", hint="0 stands for the default"
                )


class Target(StrEnum):
    """Where a model runs."""

    CPU = "cpu"
    GPU = "gpu"


class Backend(StrEnum):
    """What runs it within Triton."""

    ONNXRUNTIME = "onnxruntime"
    TENSORRT = "tensorrt"
    """A plan that was built for one kind of GPU beforehand; see `countline_models.deploy.tensorrt`."""


PLATFORMS: Final = {"onnxruntime_onnx": Backend.ONNXRUNTIME, "tensorrt_plan": Backend.TENSORRT}
"""As configurations name backends that were written before Triton had the field for it."""
UNTUNED: Final = Tuning()


def config_text(
    name: str,
    contract: ContractModel,
    versions: Sequence[int] | None = None,
    tuning: Tuning = UNTUNED,
    target: Target = Target.CPU,
    backend: Backend = Backend.ONNXRUNTIME,
    thresholds: Mapping[int, float] | None = None,
) -> str:
    """The config.pbtxt of a contract model.

    Args:
        name: of the model; also of its folder.
        contract: what it takes and gives.
        versions: those that are served, none where it is empty; left to Triton, which takes the newest, without it.
        tuning: how this machine runs it.
        target: where it runs.
        backend: what runs it.
        thresholds: score thresholds of versions; written where they are not that of the contract.
    """
    base = CONFIG.format(
        name=name,
        backend=backend.value,
        max_batch_size=tuning.max_batch_size or MAX_BATCH_SIZE,
        input_name=INPUT_NAME,
        output_name=OUTPUT_NAME,
        height=contract.height,
        width=contract.width,
        max_detections=contract.max_detections,
        score_threshold=contract.score_threshold,
        batching=_batching(tuning),
    )
    own = {version: score for version, score in (thresholds or {}).items() if score != contract.score_threshold}
    return (
        base
        + "".join(_threshold(*each) for each in sorted(own.items()))
        + "".join(_additions(versions, tuning, target, backend))
    )


def _threshold(version: int, score: float) -> str:
    return PARAMETER.format(key=f"score_threshold.{version}", value=f"{score:.2f}")


def _batching(tuning: Tuning) -> str:
    if not tuning.max_queue_delay_us:
        return "dynamic_batching { }"
    return f"dynamic_batching {{ max_queue_delay_microseconds: {tuning.max_queue_delay_us} }}"


def _additions(versions: Sequence[int] | None, tuning: Tuning, target: Target, backend: Backend) -> Iterator[str]:
    if versions is not None:
        yield _policy(versions)
    if target is Target.GPU:
        yield f"instance_group [ {{ count: {tuning.instances or 1} kind: KIND_GPU }} ]\n"
        if backend is Backend.ONNXRUNTIME:
            yield ACCELERATOR.format(workspace_bytes=TENSORRT_WORKSPACE_BYTES, engine_cache=ENGINE_CACHE)
    elif tuning.instances:
        yield f"instance_group [ {{ count: {tuning.instances} }} ]\n"
    if tuning.instances:
        yield PARAMETER.format(key=TUNED_KEY, value=target.value)


def _policy(versions: Iterable[int]) -> str:
    """The part of config.pbtxt that says which versions are served; with none of them, loading the model fails."""
    inner = f" versions: [ {', '.join(map(str, sorted(set(versions))))} ]" if versions else ""
    return f"version_policy {{ specific {{{inner} }} }}\n"


def parse_config(text: str, shown: str) -> Any:
    """Read a config.pbtxt: Triton's own `ModelConfig` message.

    Args:
        text: what the file holds.
        shown: what to call it in errors.

    Raises:
        InvalidInputError: it is none.
    """
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    try:
        return text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise InvalidInputError(
            f"{shown} is no configuration of Triton's: {error}", hint="mend it, or deploy the model again"
        ) from error


def tuning_of(config: Any) -> Tuning:
    """The tuning that a configuration states, as `config_text` wrote it or somebody by hand.

    Args:
        config: Triton's `ModelConfig`.

    Raises:
        InvalidInputError: a number in it is more than any machine can mean.
    """
    batch_size, instances = config.max_batch_size, sum(group.count or 1 for group in config.instance_group)
    return Tuning(
        max_batch_size=0 if batch_size == MAX_BATCH_SIZE else batch_size,
        max_queue_delay_us=config.dynamic_batching.max_queue_delay_microseconds,
        # One instance is what Triton takes by itself: it is meant only where it is marked as measured.
        instances=0 if instances == 1 and TUNED_KEY not in config.parameters else instances,
    )


def target_of(config: Any) -> Target:
    """Where a configuration has its model run; on processors where it does not say."""
    on_gpu = any(group.kind == group.KIND_GPU for group in config.instance_group)
    return Target.GPU if on_gpu or config.optimization.execution_accelerators.gpu_execution_accelerator else Target.CPU


def backend_of(config: Any) -> Backend:
    """What a configuration has its model run by.

    Raises:
        InvalidInputError: by something that we do not write configurations for.
    """
    stated = config.backend or PLATFORMS.get(config.platform, config.platform)
    try:
        return Backend(stated)
    except ValueError as error:
        raise InvalidInputError(
            f"the model {config.name!r} runs by {stated or 'no backend'}", hint=f"use one of: {', '.join(Backend)}"
        ) from error


def as_overrides(config: Any) -> dict[str, Any]:
    """A parsed configuration as Triton's repository API takes it, see `countline_common.triton.model_config`."""
    from google.protobuf import json_format

    told: dict[str, Any] = json_format.MessageToDict(config, preserving_proto_field_name=True)
    return told
