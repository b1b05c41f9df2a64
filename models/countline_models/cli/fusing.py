"""`countline models fuse | heads | check | add | prepare`: from a network's ONNX file to a model that Triton serves."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from countline_common.errors import InvalidInputError

if TYPE_CHECKING:
    from countline_models.contract import ContractModel
    from countline_models.fusing.options import FuseOptions

# As in `countline_models.onnx.network` and `countline_models.fusing.options`, which are too heavy to import before a
# command is called.
BoxUnit = Literal["pixels", "normalised"]
ScoreKind = Literal["probabilities", "logits"]
ChannelOrder = Literal["rgb", "bgr"]
ScaleOrder = Literal["scale-first", "mean-first"]

ModelFile = Annotated[Path, typer.Argument(help="ONNX file.", show_default=False)]
HeadName = Annotated[
    str | None,
    typer.Option(help="Kind of network, see `countline models heads`; recognised from the graph without it."),
]
LabelsFile = Annotated[Path | None, typer.Option(help="Class names, one a line; 80 classes are COCO's without it.")]
Out = Annotated[Path, typer.Option("--output", "-o", help="Where to write the contract model.")]


def fuse(
    model: ModelFile,
    output: Out,
    head: HeadName = None,
    labels: LabelsFile = None,
    size: Annotated[str | None, typer.Option(help="WxH of the input; as exported without it.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Classes to keep, by name or index, e.g. person,car; all without it.")
    ] = None,
    max_detections: Annotated[int, typer.Option(help="Rows of the answer for one frame.", min=1)] = 100,
    nms_iou: Annotated[
        float | None,
        typer.Option(help="Boxes of one class that overlap more are one object; the head's own without it."),
    ] = None,
    score_threshold: Annotated[float, typer.Option(help="Detections below it start no track.")] = 0.3,
    score_floor: Annotated[float, typer.Option(help="Detections below it are dropped inside the graph.")] = 0.05,
    boxes: Annotated[BoxUnit | None, typer.Option(help="Unit of its boxes; found out without it.")] = None,
    scores: Annotated[ScoreKind | None, typer.Option(help="What its scores are; found out without it.")] = None,
    channel_order: Annotated[ChannelOrder | None, typer.Option(help="Order of channels it was trained on.")] = None,
    scale: Annotated[float | None, typer.Option(help="Factor on bytes, e.g. 0.003921569 for 0..1.")] = None,
    mean: Annotated[str | None, typer.Option(help="R,G,B taken away, in the network's order of channels.")] = None,
    std: Annotated[str | None, typer.Option(help="R,G,B to divide by, in the network's order of channels.")] = None,
    scale_order: Annotated[
        ScaleOrder | None, typer.Option(help="(value * scale - mean) / std, or (value - mean) * scale / std.")
    ] = None,
) -> None:
    """Make a contract model: bytes in, boxes out; pre-processing, decoding and, where needed, NMS inside the graph."""
    from countline_models.fusing.options import FuseOptions

    options = FuseOptions(
        size_hw=_size_hw(size),
        max_detections=max_detections,
        nms_iou=nms_iou,
        score_floor=score_floor,
        score_threshold=score_threshold,
        classes=None if classes is None else tuple(name.strip() for name in classes.split(",") if name.strip()),
        boxes=boxes,
        scores=scores,
        channel_order=channel_order,
        scale=scale,
        mean=_three(mean, "--mean"),
        std=_three(std, "--std"),
        scale_order=scale_order,
    )
    _fuse(model, output, head, _labels(labels), options)


def _fuse(model: Path, output: Path, head: str | None, labels: tuple[str, ...] | None, options: "FuseOptions") -> None:
    from countline_models.contract import FUSED_KEY, check_contract
    from countline_models.fusing.files import fuse_file
    from countline_models.heads import HEADS

    fused, name = fuse_file(model, head, labels, options)
    data = fused.SerializeToString()
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(data)
    found = next(entry.value for entry in fused.metadata_props if entry.key == FUSED_KEY)
    typer.echo(f"{output}: head {'given' if head else 'recognised'}: {found}", err=True)
    if HEADS[name].resized == "stretched":
        typer.echo(
            "note: its authors stretch pictures to the input; here they keep their shape and are padded. "
            "Give --size in the shape of the cameras where the network allows it.",
            err=True,
        )
    _show(check_contract(data, run=False), as_json=False)


def heads(
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """List the heads: which architectures each decodes, and what it takes and gives."""
    from countline_models.heads import HEADS

    if as_json:
        print(
            json.dumps([{"name": head.name, "aliases": head.aliases, "about": head.about} for head in HEADS.values()])
        )
        return
    for head in HEADS.values():
        typer.echo(f"{head.name:10} {head.about}")
        if head.aliases:
            typer.echo(f"{'':10} also as {', '.join(head.aliases)}")


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
    from countline_models.repository.adding import add_model

    contract = add_model(model, name, repository, labels=_labels(labels), version=version, replace=replace)
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
    from countline_models.repository.prepare import prepare as prepare_model

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
        raise InvalidInputError(f"{text!r} is no size", hint="write it as WxH, such as 640x384")
    return int(height), int(width)


def _three(text: str | None, option: str) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        first, second, third = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidInputError(
            f"{option} {text!r} is not three numbers", hint=f"write them with commas: {option} 123.7,116.3,103.5"
        ) from error
    return first, second, third


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
