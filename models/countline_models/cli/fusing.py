"""`countline models fuse | check | add | prepare`: from a network's ONNX file to a model that Triton serves."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from countline_common.errors import InvalidInputError

if TYPE_CHECKING:
    from countline_models.contract import ContractModel

ModelFile = Annotated[Path, typer.Argument(help="ONNX file.", show_default=False)]
HeadName = Annotated[
    str | None, typer.Option(help="Kind of network, e.g. yolox; recognised from the graph without it.")
]
LabelsFile = Annotated[Path | None, typer.Option(help="Class names, one a line; 80 classes are COCO's without it.")]
Out = Annotated[Path, typer.Option("--output", "-o", help="Where to write the contract model.")]


def fuse(
    model: ModelFile,
    output: Out,
    head: HeadName = None,
    labels: LabelsFile = None,
    size: Annotated[str | None, typer.Option(help="WxH of the input; as exported without it.")] = None,
    max_detections: Annotated[int, typer.Option(help="Rows of the answer for one frame.", min=1)] = 100,
    nms_iou: Annotated[float, typer.Option(help="Boxes of one class that overlap more are one object.")] = 0.45,
    score_threshold: Annotated[float, typer.Option(help="Detections below it start no track.")] = 0.3,
    score_floor: Annotated[float, typer.Option(help="Detections below it are dropped inside the graph.")] = 0.05,
) -> None:
    """Make a contract model: bytes in, boxes out, with pre-processing, decoding and NMS inside the graph."""
    from countline_models.contract import check_contract
    from countline_models.fuse import FuseOptions
    from countline_models.prepare import fuse_file

    options = FuseOptions(
        size_hw=_size_hw(size),
        max_detections=max_detections,
        nms_iou=nms_iou,
        score_floor=score_floor,
        score_threshold=score_threshold,
    )
    fused, head_name = fuse_file(model, head, _labels(labels), options)
    data = fused.SerializeToString()
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(data)
    typer.echo(f"{output}: {'given' if head else 'recognised'} head {head_name}", err=True)
    _show(check_contract(data, run=False), as_json=False)


def check(
    model: ModelFile, as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False
) -> None:
    """Hold a model to the detection contract: names, types, shapes, and a run with one frame and with three."""
    from countline_models.contract import check_contract

    _show(check_contract(model), as_json=as_json)


def add(
    model: ModelFile,
    name: Annotated[str, typer.Option(help="What Triton and cameras will call it.")],
    repository: Annotated[Path, typer.Option(help="Triton model repository; made where it does not exist.")],
    labels: LabelsFile = None,
    version: Annotated[int, typer.Option(help="Number of the version.", min=1)] = 1,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a version that is there already.")] = False,
) -> None:
    """Put a contract model into a Triton model repository."""
    from countline_models.repository import place_model

    contract = place_model(model, name, repository, labels=_labels(labels), version=version, replace=replace)
    typer.echo(f"{repository / name}: version {version}", err=True)
    _show(contract, as_json=False)


def prepare(
    model: ModelFile,
    out: Annotated[Path, typer.Option(help="Folder that becomes the model repository.")],
    head: HeadName = None,
    labels: LabelsFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a model repository of one ONNX file, fused where it is not a contract model yet."""
    from countline_models.prepare import prepare as prepare_model

    prepared = prepare_model(model, out, head, _labels(labels))
    if as_json:
        print(json.dumps({"name": prepared.name, "head": prepared.head, **asdict(prepared.contract)}))
        return
    typer.echo(
        f"{out / prepared.name}: {f'fused head {prepared.head}' if prepared.head else 'contract model'}", err=True
    )
    _show(prepared.contract, as_json=False)


def _labels(file: Path | None) -> tuple[str, ...] | None:
    from countline_models.labels import read_labels

    return None if file is None else read_labels(file)


def _size_hw(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise InvalidInputError(f"{text!r} is no size", cure="write it as WxH, such as 640x384")
    return int(height), int(width)


def _show(contract: "ContractModel", *, as_json: bool) -> None:
    if as_json:
        json.dump(asdict(contract), sys.stdout)
        sys.stdout.write("\n")
        return
    names = ", ".join(contract.labels[:5]) + (", ..." if len(contract.labels) > 5 else "")
    typer.echo(f"input           {contract.width}x{contract.height}")
    typer.echo(f"detections      at most {contract.max_detections} a frame")
    typer.echo(f"classes         {len(contract.labels) or 'not named'}{f': {names}' if names else ''}")
    typer.echo(f"score threshold {contract.score_threshold:g}")
