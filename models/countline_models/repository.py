"""Puts contract models into a Triton model repository.

    <repository>/<name>/config.pbtxt
                       /labels.txt           class names, one a line
                       /<version>/model.onnx

The configuration says what any machine needs and nothing of one machine: no KIND_CPU, no thread counts. It is the same
text for the same model, so that a repository under version control changes only when a model does.
"""

from pathlib import Path
from typing import Final

from countline_common.errors import AlreadyExistsError, InvalidInputError
from countline_common.triton.models import NAME_CURE, NAME_PATTERN
from countline_models.contract import INPUT_NAME, OUTPUT_NAME, ContractModel, check_contract
from countline_models.labels import labels_for

MAX_BATCH_SIZE: Final = 8

CONFIG: Final = """\
name: "{name}"
backend: "onnxruntime"
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
dynamic_batching {{ }}
parameters {{
  key: "score_threshold"
  value {{ string_value: "{score_threshold:.2f}" }}
}}
"""


def config_text(name: str, contract: ContractModel, max_batch_size: int = MAX_BATCH_SIZE) -> str:
    """The config.pbtxt of a contract model."""
    return CONFIG.format(
        name=name,
        max_batch_size=max_batch_size,
        input_name=INPUT_NAME,
        output_name=OUTPUT_NAME,
        height=contract.height,
        width=contract.width,
        max_detections=contract.max_detections,
        score_threshold=contract.score_threshold,
    )


def place_model(
    model: Path | bytes,
    name: str,
    repository: Path,
    *,
    labels: tuple[str, ...] | None = None,
    version: int = 1,
    replace: bool = False,
) -> ContractModel:
    """Put a contract model into a repository, after it was held to the contract.

    Args:
        model: the ONNX file, or its bytes.
        name: what Triton and cameras will call it.
        repository: made where it does not exist.
        labels: class names instead of those the file carries.
        version: number of its folder.
        replace: whether a version that is there already may be replaced.

    Returns:
        The model, with the labels that were written.

    Raises:
        InvalidInputError: the file breaks the contract, or the name cannot be used.
        AlreadyExistsError: that version is there already.
    """
    _check_name(name)
    contract = check_contract(model)
    contract = ContractModel(
        contract.height,
        contract.width,
        contract.max_detections,
        contract.labels if labels is None else _fitting(labels, contract),
        contract.score_threshold,
    )
    folder = repository / name
    target = folder / str(version) / "model.onnx"
    if target.exists() and not replace:
        raise AlreadyExistsError(
            f"{repository} has version {version} of {name!r} already", cure="give another --name or --version"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    (folder / "config.pbtxt").write_text(config_text(name, contract), encoding="utf-8")
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in contract.labels), encoding="utf-8")
    fresh = target.with_name(".model.onnx")
    fresh.write_bytes(model.read_bytes() if isinstance(model, Path) else model)
    fresh.replace(target)  # at once: a server that loads meanwhile never sees half a model
    return contract


def _check_name(name: str) -> None:
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidInputError(f"{name!r} cannot be the name of a model", cure=NAME_CURE)


def _fitting(labels: tuple[str, ...], contract: ContractModel) -> tuple[str, ...]:
    return labels_for(len(contract.labels), labels) if contract.labels else labels
