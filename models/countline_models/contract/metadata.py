"""Class names and score threshold in the metadata of an ONNX file."""

import json
from typing import Any, Final

import onnx

from countline_common.triton.model_config import DEFAULT_SCORE_THRESHOLD as DEFAULT_SCORE_THRESHOLD  # noqa: PLC0414
from countline_models.contract.errors import METADATA_HINT, ContractError

LABELS_KEY: Final = "countline.labels"
SCORE_THRESHOLD_KEY: Final = "countline.score_threshold"
FUSED_KEY: Final = "countline.fused"
"""One line for people: how the fusing tool read the network."""


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    """All metadata entries of a model."""
    return {entry.key: entry.value for entry in model.metadata_props}


def set_metadata(model: onnx.ModelProto, labels: tuple[str, ...], score_threshold: float) -> None:
    """Write class names and score threshold into a model's metadata; other entries stay."""
    ours = {LABELS_KEY: json.dumps(list(labels)), SCORE_THRESHOLD_KEY: f"{score_threshold:g}"}
    kept = {key: value for key, value in metadata_of(model).items() if key not in ours}
    onnx.helper.set_model_props(model, {**kept, **ours})


def labels_in(model: onnx.ModelProto, shown: str) -> tuple[str, ...]:
    """Class names by index; empty without an entry.

    Args:
        model: the model.
        shown: name of the model in errors.

    Raises:
        ContractError: the entry is not a JSON list of names.
    """
    try:
        labels: Any = json.loads(metadata_of(model).get(LABELS_KEY, "[]"))
    except json.JSONDecodeError:
        labels = None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ContractError(shown, f"its metadata {LABELS_KEY} is not a JSON list of names", METADATA_HINT)
    return tuple(labels)


def score_threshold_in(model: onnx.ModelProto, shown: str) -> float:
    """The score threshold in 0..1; the default without an entry.

    Raises:
        ContractError: the entry is not a number in that range.
    """
    text = metadata_of(model).get(SCORE_THRESHOLD_KEY, str(DEFAULT_SCORE_THRESHOLD))
    try:
        threshold = float(text)
    except ValueError as error:
        problem = f"its metadata {SCORE_THRESHOLD_KEY} is not a number: {text!r}"
        raise ContractError(shown, problem, METADATA_HINT) from error
    if not 0.0 <= threshold < 1.0:
        problem = f"its metadata {SCORE_THRESHOLD_KEY} is {text}, and must lie between 0 and 1"
        raise ContractError(shown, problem, METADATA_HINT)
    return threshold
