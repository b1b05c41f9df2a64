"""Between Triton's model configuration and ours; pure.

A configuration is the JSON of Triton's `ModelConfig` message with the names of the proto, as `get_model_config` gives
it and as the repository API takes it back as an override. Fields at their default are left out of it.
"""

import copy
from collections.abc import Sequence
from typing import Any, Final

from countline_common.triton.models import ModelInfo, ModelOverrides, ModelRefusedError

INPUT_NAME: Final = "frames"
OUTPUT_NAME: Final = "detections"
DEFAULT_SCORE_THRESHOLD: Final = 0.3
EMBEDDED_SERVER_ID: Final = "countline-embedded"
"""What the embedded Triton answers to "who are you": clients see by it that models run on this machine's cores."""
TUNED_KEY: Final = "tuned"
"""Parameter of a model whose configuration fixes the number of instances; it is then not overridden."""

Config = dict[str, Any]


def model_info(config: Config, version: int, labels: tuple[str, ...]) -> ModelInfo:
    """What the data plane needs to know of a loaded model.

    Raises:
        ModelRefusedError: the configuration breaks the detection contract.
    """
    name = str(config.get("name", ""))
    height, width, channels = _dims(config, "input", INPUT_NAME, "TYPE_UINT8", 3)
    max_detections, columns = _dims(config, "output", OUTPUT_NAME, "TYPE_FP32", 2)
    if channels != 3 or columns != 6 or min(height, width, max_detections) < 1:
        found = f"{INPUT_NAME} {[height, width, channels]}, {OUTPUT_NAME} {[max_detections, columns]}"
        raise _breaks(name, f"it must have {INPUT_NAME} [height, width, 3] and {OUTPUT_NAME} [n, 6], and has {found}")
    return ModelInfo(
        name=name,
        version=version,
        height=height,
        width=width,
        max_detections=max_detections,
        labels=labels,
        score_threshold=_score_threshold(config, name, version),
        max_batch_size=_batch_size(config, name),
        instances=instance_count(config),
    )


def _dims(config: Config, side: str, tensor: str, data_type: str, rank: int) -> list[int]:
    name = str(config.get("name", ""))
    found = config.get(side, [])
    names = [str(entry.get("name")) for entry in found]
    if names != [tensor]:
        raise _breaks(name, f"it must have one {side} {tensor!r}, and has: {', '.join(names) or 'none'}")
    if found[0].get("data_type") != data_type:
        raise _breaks(name, f"{tensor!r} must be {data_type}, and is {found[0].get('data_type')}")
    dims = [int(size) for size in found[0].get("dims", [])]
    if len(dims) != rank:
        raise _breaks(name, f"{tensor!r} must have {rank} axes beside the batch, and has {dims}")
    return dims


def _batch_size(config: Config, name: str) -> int:
    size = int(config.get("max_batch_size", 0))
    if size < 1:
        raise _breaks(name, "its max_batch_size is 0: it takes no batches")
    return size


def _score_threshold(config: Config, name: str, version: int) -> float:
    """That of the version, where it has one of its own: versions share a configuration, not a threshold."""
    parameters = config.get("parameters", {})
    found = parameters.get(f"score_threshold.{version}") or parameters.get("score_threshold", {})
    text = found.get("string_value", str(DEFAULT_SCORE_THRESHOLD))
    try:
        return float(text)
    except ValueError as error:
        raise _breaks(name, f"its parameter score_threshold is no number: {text!r}") from error


def _breaks(name: str, problem: str) -> ModelRefusedError:
    return ModelRefusedError(
        f"the model {name!r} breaks the detection contract: {problem}",
        hint="make a contract model of it: countline models fuse, countline models add",
    )


def instance_count(config: Config) -> int:
    """Copies of the model that run at the same time, over all its groups."""
    groups = config.get("instance_group", [])
    return sum(int(group.get("count", 1)) * max(1, len(group.get("gpus", ()))) for group in groups) or 1


def usual_overrides(config: Config, cores: int) -> ModelOverrides:
    """A model's configuration for the embedded server: one instance per core, so that each one runs whole frames."""
    tuned = TUNED_KEY in config.get("parameters", {})
    return ModelOverrides() if tuned else ModelOverrides(instances=cores)


def overridden(config: Config, overrides: ModelOverrides) -> Config:
    """The configuration with one machine's changes; equal to `config` where there is nothing to change."""
    changed = copy.deepcopy(config)
    if overrides.instances is not None and overrides.instances != instance_count(config):
        kind = next((group["kind"] for group in config.get("instance_group", ()) if "kind" in group), "KIND_AUTO")
        changed["instance_group"] = [{"count": overrides.instances, "kind": kind}]
    if overrides.intra_op_threads is not None:
        parameters = changed.setdefault("parameters", {})
        parameters["intra_op_thread_count"] = {"string_value": str(overrides.intra_op_threads)}
    if overrides.max_batch_size is not None:
        changed["max_batch_size"] = overrides.max_batch_size
        # Triton has filled it in for the old size, which may be more than the new one allows.
        changed.get("dynamic_batching", {}).pop("preferred_batch_size", None)
    if overrides.max_queue_delay_us is not None:
        batching = changed.setdefault("dynamic_batching", {})
        batching["max_queue_delay_microseconds"] = str(overrides.max_queue_delay_us)
    return changed


def named_versions(config: Config) -> frozenset[int] | None:
    """The versions that a configuration has served; None where it leaves that to Triton.

    >>> sorted(named_versions({"version_policy": {"specific": {"versions": ["2", "1"]}}}) or ())
    [1, 2]
    """
    specific = config.get("version_policy", {}).get("specific")
    return None if specific is None else frozenset(int(version) for version in specific.get("versions", ()))


def labels_of(classification: Sequence[str | bytes]) -> tuple[str, ...]:
    """Class names out of Triton's classification extension, "value:index:label" per element and in any order.

    It is asked for all elements of an output, so it names every label that the model's label file has.

    >>> labels_of(["0.9:1:vehicle", "0.1:0:person", "0.0:2"])
    ('person', 'vehicle')
    """
    labels: dict[int, str] = {}
    for entry in classification:
        text = entry.decode() if isinstance(entry, bytes) else entry
        _, index, *label = text.split(":", 2)
        if label:
            labels[int(index)] = label[0]
    return tuple(labels[index] for index in range(len(labels)) if index in labels)
