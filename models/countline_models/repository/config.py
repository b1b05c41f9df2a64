"""Writes config.pbtxt, Triton's configuration of a contract model.

The configuration states what every machine needs and nothing about one machine: no KIND_CPU, no thread counts. The same
model always gives the same text, so a repository under version control changes only when a model does. Tuning and GPU
settings are written only if they are asked for. A tuned model has the parameter `tuned`, and its number of instances is
not overridden when it is loaded.

For a GPU, the backend `onnxruntime` of NVIDIA's Triton gets TensorRT as its execution provider (parameter names: README
of triton-inference-server/onnxruntime_backend). TensorRT builds an engine at the first request after a load and keeps
it in `ENGINE_CACHE`, which the container must be able to write. The configuration gives no profile shapes: a graph that
TensorRT runs only in part would need those of every inner tensor. Instead the range of batches grows with the requests,
so warming up with one frame and with a full batch builds the engine for all sizes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from countline_common.triton.model_config import INPUT_NAME, OUTPUT_NAME, TUNED_KEY
from countline_models.contract_model import ContractModel
from countline_models.repository.settings import MAX_BATCH_SIZE, UNTUNED, ModelBackend, ModelTarget, Tuning

TENSORRT_WORKSPACE_BYTES: Final = 1 << 30
ENGINE_CACHE: Final = "/var/cache/countline/tensorrt"
"""Folder in Triton's container; it should be a volume, or every start builds the engines again."""

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


def config_text(
    name: str,
    contract: ContractModel,
    versions: Sequence[int] | None = None,
    tuning: Tuning = UNTUNED,
    target: ModelTarget = ModelTarget.CPU,
    backend: ModelBackend = ModelBackend.ONNXRUNTIME,
    thresholds: Mapping[int, float] | None = None,
) -> str:
    """The config.pbtxt of a contract model.

    Args:
        name: name of the model and of its folder.
        contract: its input and output.
        versions: versions to serve; empty serves none, None leaves the choice to Triton, which takes the newest.
        tuning: how this machine runs it.
        target: where it runs.
        backend: what runs it.
        thresholds: score thresholds by version; written for versions that differ from the contract.
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


def labels_text(labels: Sequence[str]) -> str:
    """The labels.txt of a contract model: class names, one a line."""
    return "".join(f"{label}\n" for label in labels)


def _threshold(version: int, score: float) -> str:
    return PARAMETER.format(key=f"score_threshold.{version}", value=f"{score:.2f}")


def _batching(tuning: Tuning) -> str:
    if not tuning.max_queue_delay_us:
        return "dynamic_batching { }"
    return f"dynamic_batching {{ max_queue_delay_microseconds: {tuning.max_queue_delay_us} }}"


def _additions(
    versions: Sequence[int] | None, tuning: Tuning, target: ModelTarget, backend: ModelBackend
) -> Iterator[str]:
    if versions is not None:
        yield _policy(versions)
    if target is ModelTarget.GPU:
        yield f"instance_group [ {{ count: {tuning.instances or 1} kind: KIND_GPU }} ]\n"
        if backend is ModelBackend.ONNXRUNTIME:
            yield ACCELERATOR.format(workspace_bytes=TENSORRT_WORKSPACE_BYTES, engine_cache=ENGINE_CACHE)
    elif tuning.instances:
        yield f"instance_group [ {{ count: {tuning.instances} }} ]\n"
    if tuning.instances:
        yield PARAMETER.format(key=TUNED_KEY, value=target.value)


def _policy(versions: Iterable[int]) -> str:
    """The version policy; without versions, loading the model fails."""
    inner = f" versions: [ {', '.join(map(str, sorted(set(versions))))} ]" if versions else ""
    return f"version_policy {{ specific {{{inner} }} }}\n"
