"""`countline models fuse | heads | check | add | prepare`: makes, checks and adds contract models."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from countline_common.cli.tools import note, say
from countline_common.errors import InvalidInputError
from countline_common.files.output_files import OutputFile, OutputFiles
from countline_counting.errors import GrammarError
from countline_counting.text import read_size

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
    typer.Option(help="Head that decodes the network (`countline models heads`). Default: recognised from the graph."),
]
LabelsFile = Annotated[
    Path | None,
    typer.Option(help="File with class names, one per line. Default: those in the model, or COCO's for 80 classes."),
]
Out = Annotated[Path, typer.Option("--output", "-o", help="File to write the contract model to.")]


def fuse(
    model: ModelFile,
    output: Out,
    head: HeadName = None,
    labels: LabelsFile = None,
    size: Annotated[str | None, typer.Option(help="Input size WxH. Default: as exported.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Classes to keep, by name or index, such as person,car. Default: all.")
    ] = None,
    max_detections: Annotated[int, typer.Option(help="Rows of the answer for each frame.", min=1)] = 100,
    nms_iou: Annotated[
        float | None,
        typer.Option(help="IoU above which boxes of one class are one object. Default: the head's."),
    ] = None,
    score_threshold: Annotated[float, typer.Option(help="Detections below this score start no track.")] = 0.3,
    score_floor: Annotated[
        float, typer.Option(help="Detections below this score are dropped inside the graph.")
    ] = 0.05,
    boxes: Annotated[BoxUnit | None, typer.Option(help="Unit of the network's boxes. Default: found in a run.")] = None,
    scores: Annotated[
        ScoreKind | None, typer.Option(help="Kind of the network's scores. Default: found in the graph or a run.")
    ] = None,
    channel_order: Annotated[
        ChannelOrder | None, typer.Option(help="Channel order of its training. Default: the head's.")
    ] = None,
    scale: Annotated[float | None, typer.Option(help="Factor on bytes, such as 0.003921569 for 0..1.")] = None,
    mean: Annotated[str | None, typer.Option(help="Three values to subtract, in the network's channel order.")] = None,
    std: Annotated[str | None, typer.Option(help="Three values to divide by, in the network's channel order.")] = None,
    scale_order: Annotated[
        ScaleOrder | None, typer.Option(help="(value * scale - mean) / std, or (value - mean) * scale / std.")
    ] = None,
) -> None:
    """Make a contract model of a network: put pre-processing, decoding and NMS into the graph.

    Example: countline models fuse yolo11n.onnx --classes person,car -o gates.onnx
    """
    from countline_models.fusing.options import FuseOptions
    from countline_models.onnx.reading import network_files

    chosen = FuseOptions(
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
    with OutputFiles([*network_files(model), labels]) as outputs:
        file = outputs.open("--output", output, makes_folder=True)
        _fuse(model, file, head, _labels(labels), chosen)


def _fuse(
    model: Path, output: OutputFile, head: str | None, labels: tuple[str, ...] | None, options: "FuseOptions"
) -> None:
    from countline_models.contract import FUSED_KEY, check_contract
    from countline_models.fusing.files import fuse_file
    from countline_models.heads import HEADS

    fused, name = fuse_file(model, head, labels, options)
    data = fused.SerializeToString()
    output.write(data)
    found = next(entry.value for entry in fused.metadata_props if entry.key == FUSED_KEY)
    note(f"{output.named}: head {'given' if head else 'recognised'}: {found}")
    if HEADS[name].resized == "stretched":
        note(
            "note: the authors stretch pictures to the input; Countline keeps their shape and pads them. "
            "If the network allows it, give --size the shape of the cameras."
        )
    _show(check_contract(data, run=False), as_json=False, err=output.is_standard_output)


def heads(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the heads, with the architectures that they decode.

    Example: countline models heads
    """
    from countline_models.heads import HEADS

    if as_json:
        print(
            json.dumps([{"name": head.name, "aliases": head.aliases, "about": head.about} for head in HEADS.values()])
        )
        return
    for head in HEADS.values():
        say(f"{head.name:10} {head.about}")
        if head.aliases:
            say(f"{'':10} also as {', '.join(head.aliases)}")


def check(model: ModelFile, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check a model against the detection contract: names, types, shapes, and answers in a run.

    Example: countline models check gates.onnx
    """
    from countline_models.contract import check_contract

    _show(check_contract(model), as_json=as_json)


def add(
    model: ModelFile,
    name: Annotated[str, typer.Option(help="Name of the model for Triton and cameras.")],
    repository: Annotated[Path, typer.Option(help="Folder of the Triton model repository; made if it does not exist.")],
    labels: LabelsFile = None,
    version: Annotated[int, typer.Option(help="Number of the version.", min=1)] = 1,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing version.")] = False,
) -> None:
    """Put a contract model into a Triton model repository.

    Example: countline models add gates.onnx --name gates --repository models
    """
    from countline_models.repository.adding import add_model

    contract = add_model(model, name, repository, labels=_labels(labels), version=version, replace=replace)
    note(f"{repository / name}: version {version}")
    _show(contract, as_json=False)


def prepare(
    model: ModelFile,
    out: Annotated[Path, typer.Option(help="Folder of the new model repository.")],
    head: HeadName = None,
    labels: LabelsFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a model repository of one ONNX file; a network that is not a contract model is fused first.

    Example: countline models prepare yolo11n.onnx --out models
    """
    from countline_models.repository.prepare import prepare as prepare_model

    prepared = prepare_model(model, out, head, _labels(labels))
    if as_json:
        print(json.dumps({"name": prepared.name, "head": prepared.head, **asdict(prepared.contract)}))
        return
    note(f"{out / prepared.name}: {f'fused head {prepared.head}' if prepared.head else 'contract model'}")
    _show(prepared.contract, as_json=False)


def _labels(file: Path | None) -> tuple[str, ...] | None:
    from countline_models.labels import read_labels

    return None if file is None else read_labels(file)


def _size_hw(written: str | None) -> tuple[int, int] | None:
    if written is None:
        return None
    try:
        width, height = read_size(written)
    except GrammarError as error:
        raise InvalidInputError(str(error), hint=error.hint) from error
    return height, width


def _three(text: str | None, option: str) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        first, second, third = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidInputError(
            f"{option} {text!r} is not three numbers", hint=f"separate them with commas: {option} 123.7,116.3,103.5"
        ) from error
    return first, second, third


def _show(contract: "ContractModel", *, as_json: bool, err: bool = False) -> None:
    """Print what a model declares; `err`: to standard error, because the model goes to standard output."""
    if as_json:
        json.dump(asdict(contract), sys.stdout)
        sys.stdout.write("\n")
        return
    names = ", ".join(contract.labels[:5]) + (", ..." if len(contract.labels) > 5 else "")
    show = note if err else say
    show(f"input           {contract.width}x{contract.height}")
    show(f"detections      at most {contract.max_detections} a frame")
    show(f"classes         {len(contract.labels) or 'not named'}{f': {names}' if names else ''}")
    show(f"score threshold {contract.score_threshold:g}")
