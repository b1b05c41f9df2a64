"""`countline models pull`: downloads and checks a network of known origin, and fuses it on request."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from countline_common.cli.terminal import progress_bar, words
from countline_common.cli.tools import JsonOption, note, print_json, print_table
from countline_common.errors import InvalidInputError
from countline_common.files.output_files import OutputFile, OutputFiles

if TYPE_CHECKING:
    from countline_models.pull.manifest import KnownModel, Manifest
    from countline_models.pull.wanted import Moved


def complete_network(incomplete: str) -> list[str]:
    """Names of networks with this beginning."""
    from countline_models.pull.manifest import shipped_manifest

    return [model.name for model in shipped_manifest().models if model.name.startswith(incomplete)]


NetworkArgument = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="Name of the network; see --list.", autocompletion=complete_network),
]


def pull(
    name: NetworkArgument = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File or folder. Default: NAME.onnx in this folder.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the known networks.")] = False,
    manifest: Annotated[Path | None, typer.Option(help="File with your own list of networks.")] = None,
    fuse: Annotated[bool, typer.Option("--fuse", help="Also make a contract model, NAME.fused.onnx.")] = False,
    json: JsonOption = False,
) -> None:
    """Download a network from its authors and check its SHA-256.

    A download that was cut off resumes.

    Example: countline models pull yolox_nano --fuse
    """
    from countline_models.pull.manifest import read_manifest, shipped_manifest

    known = read_manifest(manifest) if manifest is not None else shipped_manifest()
    if list_:
        _list(known, as_json=json)
        return
    if name is None:
        raise InvalidInputError("no network is named", hint="list the known ones: countline models pull --list")
    model = known.named(name)
    target = _target(model, output)
    note(f"{model.architecture}: licence {model.licence} ({model.licence_address or 'no address given'}).")
    fused = target.with_name(f"{target.stem}.fused.onnx") if fuse else None
    with OutputFiles([manifest, target]) as outputs:
        fused_file = outputs.open("--fuse", fused, makes_folder=True, is_named=False) if fused is not None else None
        downloaded = _download(model, target)
        note(
            f"{target}: {model.size_bytes} bytes, SHA-256 as expected"
            f"{'' if downloaded else '; it was downloaded before'}."
        )
        if fused_file is not None:
            _fuse(model, target, fused_file)
    if json:
        print_json(_described(model, target, fused, downloaded=downloaded))
    else:
        note(_next_step(model, target, fused))


def _target(model: "KnownModel", output: Path | None) -> Path:
    if output is None or output.is_dir():
        return (output or Path()) / f"{model.name}.onnx"
    return output


def _download(model: "KnownModel", target: Path) -> bool:
    from countline_models.pull.download import pull as pull_file
    from countline_models.pull.wanted import Wanted

    wanted = Wanted(tuple(str(address) for address in model.addresses), model.sha256, model.size_bytes)
    with _bar(model) as moved:
        return asyncio.run(pull_file(wanted, target, moved=moved, noted=note))


@contextmanager
def _bar(model: "KnownModel") -> "Iterator[Moved]":
    """A progress bar on standard error, if that is a terminal."""
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (words(model.name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as progress:
        task = progress.add_task("", total=model.size_bytes)
        yield lambda here, total: progress.update(task, completed=here, total=total)


def _fuse(model: "KnownModel", network: Path, output: OutputFile) -> None:
    from countline_models.fusing.files import fuse_file

    fused, _ = fuse_file(network, model.head, model.class_names)
    output.write(fused.SerializeToString())


def _next_step(model: "KnownModel", target: Path, fused: Path | None) -> str:
    if fused is None:
        return f"hint: countline models fuse {target} --head {model.head} -o {target.with_suffix('')}.fused.onnx"
    return f"{fused}: contract model.\nhint: countline models deploy {fused} --name {model.name}"


def _described(model: "KnownModel", target: Path, fused: Path | None, *, downloaded: bool) -> dict[str, Any]:
    return {
        **model.model_dump(mode="json", exclude={"digest_from", "labels"}),
        "file": str(target),
        "downloaded": downloaded,
        "fused": None if fused is None else str(fused),
    }


def _list(known: "Manifest", *, as_json: bool) -> None:
    if as_json:
        print_json(known.model_dump(mode="json"))
        return
    rows = [
        (
            model.name,
            model.architecture,
            f"{model.width}x{model.height}",
            f"{model.size_bytes / 1e6:.1f} MB",
            model.head,
            model.licence,
            model.about,
        )
        for model in known.models
    ]
    print_table(("NAME", "NETWORK", "INPUT", "SIZE", "HEAD", "LICENCE", "ABOUT"), rows, "The list has no networks.")
