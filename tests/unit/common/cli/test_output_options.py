"""Every option of every command that names a file: what the command reads, and what it writes.

A new option with a path fails `test_every_path_of_a_command_is_listed` until it is listed here; an option listed in
`WRITTEN` is then tried on the command's own inputs.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fixtures.cli.commands import leaves
from typer.testing import CliRunner

from countline_common.cli.app import app, discover, load
from countline_common.errors import CountlineError, InvalidInputError

FOLDERS = {"--data", "--folder", "--repository", "--model-repository", "--work"}
"""Folders with contents of our own, which are replaced piece by piece (`countline_common.triton.storage`)."""
READ = {
    "apply --file",
    "audit protect --dsn-file",
    "context add --api-key-file",
    "context add --ca-file",
    "context add --cert-file",
    "context add --key-file",
    "count --labels",
    "evaluate --crossings",
    "evaluate --detections",
    "evaluate --truth",
    "evaluate result",
    "models add --labels",
    "models add model",
    "models check model",
    "models deploy --golden",
    "models deploy --labels",
    "models deploy --truth",
    "models deploy model",
    "models evaluate-demo --model",
    "models fuse --labels",
    "models fuse model",
    "models prepare --labels",
    "models prepare model",
    "models pull --manifest",
    "models quantize --clip",
    "models quantize model",
    "recount --from",
    "replay file",
    "roles validate file",
    "worker --config",
}
NO_FILES_TO_READ = {"models render --out", "models trial --plot", "support gather --output"}
"""Written by commands that read no file of the user."""
MAKE_FOLDERS = {"models fuse --output", "models pull --output", "models quantize --output", "models render --out"}
"""These make the folder of the file."""
NEW_FOLDERS = {"models prepare --out", "models render-demo --out"}

LINE = ("--line", "gate:0,0.5,1,0.5")
MOT = "1,1,10,10,20,20,1,1,1\n2,1,12,10,20,20,1,1,1\n"
BOXES = '{"t": 0, "objects": []}\n'
EVALUATE = ("evaluate", "--truth", "gt.txt", "result.txt", "--size", "100x100", "--fps", "10")
QUANTIZE = ("models", "quantize", "in.onnx", "--clip", "clip.mp4")
FUSE = ("models", "fuse", "in.onnx", "--labels", "labels.txt")
COUNT = ("count", "clip.mp4", *LINE, "--model", "in.onnx", "--labels", "labels.txt")
PULL = ("models", "pull", "tiny", "--manifest", "tiny.fused.onnx", "--fuse")
REPLAY = ("replay", "boxes.jsonl", "--size", "100x100", *LINE)

WRITTEN = {
    "count --annotate": (COUNT, ("clip.mp4", "in.onnx", "labels.txt")),
    "count --trajectories": (COUNT, ("clip.mp4", "in.onnx", "labels.txt")),
    "evaluate --annotate": ((*EVALUATE, *LINE), ("gt.txt", "result.txt", "seqinfo.ini")),
    "evaluate --picture": (EVALUATE, ("gt.txt", "result.txt", "seqinfo.ini")),
    "evaluate --tracks-out": (EVALUATE, ("gt.txt", "result.txt", "seqinfo.ini")),
    "models bench --plot": (("models", "bench", "./in.onnx"), ("in.onnx",)),
    "models fuse --output": (FUSE, ("in.onnx", "labels.txt")),
    "models pull --output": (PULL, ("tiny.fused.onnx",)),
    "models quantize --output": (QUANTIZE, ("in.onnx", "clip.mp4")),
    "replay --tracks-out": (REPLAY, ("boxes.jsonl",)),
    "replay --trajectories": (REPLAY, ("boxes.jsonl",)),
}
"""For each option that names a file to write: the command without it, and the files that the command reads."""


def paths_of_all_commands() -> set[str]:
    found = set()
    for name, lazy in discover().items():
        for full, command in leaves(name, load(lazy)):
            for parameter in command.params:
                if "Path" in repr(vars(parameter)):
                    options = [option for option in parameter.opts if option.startswith("--")]
                    found.add(f"{full} {(options or parameter.opts)[0]}")
    return found


def test_every_path_of_a_command_is_listed() -> None:
    listed = READ | NO_FILES_TO_READ | NEW_FOLDERS | set(WRITTEN)
    found = {each for each in paths_of_all_commands() if each.rpartition(" ")[2] not in FOLDERS}
    assert found == listed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the commands read. Commands refuse an output before they look into their inputs."""
    known = {
        "name": "tiny",
        "architecture": "none",
        "head": "yolox",
        "licence": "none",
        "addresses": ["http://127.0.0.1:9/tiny.onnx"],
        "sha256": "0" * 64,
        "size_bytes": 1,
        "width": 1,
        "height": 1,
        "digest_from": [{"repository": "r", "path": "p", "commit": "0" * 40, "says": "s"}],
    }
    files = {
        "gt.txt": MOT,
        "result.txt": MOT,
        "seqinfo.ini": "[Sequence]\n",
        "boxes.jsonl": BOXES,
        "labels.txt": "red\n",
        "clip.mp4": "a recording",
        "in.onnx": "a network",
        "tiny.fused.onnx": json.dumps({"models": [known]}),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def itself(path: Path) -> str:
    return path.name


def symbolic_link(path: Path) -> str:
    link = path.with_name(f"link-{path.name}")
    link.symlink_to(path)
    return link.name


def hard_link(path: Path) -> str:
    link = path.with_name(f"hard-{path.name}")
    link.hardlink_to(path)
    return link.name


def other_spelling(path: Path) -> str:
    return f"../{path.parent.name}/./{path.name}"


@pytest.mark.parametrize("name", [itself, symbolic_link, hard_link, other_spelling])
@pytest.mark.parametrize(
    ("option", "source"), [(option, each) for option, (_, files) in WRITTEN.items() for each in files]
)
def test_no_command_writes_over_what_it_reads(
    folder: Path, monkeypatch: pytest.MonkeyPatch, option: str, source: str, name: Callable[[Path], str]
) -> None:
    before = (folder / source).read_bytes()
    target = name(folder / source)
    if option == "models pull --output":
        target = target.replace(".fused", "")  # the name of the fused model follows from that of the network
    monkeypatch.setattr("countline_models.charts.KINDS", {".onnx"})
    monkeypatch.setattr("countline_pipelines.evaluation.picture.picture_format", lambda _: "PNG")
    result = CliRunner().invoke(app, [*WRITTEN[option][0], option.rpartition(" ")[2], target])
    assert isinstance(result.exception, InvalidInputError), result.output
    assert "a file that this command reads" in result.exception.message
    assert (folder / source).read_bytes() == before
    assert not list(folder.glob(".countline-*"))


@pytest.mark.parametrize("option", sorted({*WRITTEN, *NO_FILES_TO_READ} - MAKE_FOLDERS))
def test_a_folder_that_does_not_exist_is_reported_before_the_work(folder: Path, option: str) -> None:
    others = {"models trial --plot": ("models", "trial", "gates"), "support gather --output": ("support", "gather")}
    words = others.get(option) or WRITTEN[option][0]
    result = CliRunner().invoke(app, [*words, option.rpartition(" ")[2], "missing/out.png"])
    assert isinstance(result.exception, CountlineError), result.output
    assert "cannot write" in result.exception.message
    assert "missing/out.png" in result.exception.message


def test_a_format_that_cannot_be_written_is_reported_before_the_work(folder: Path) -> None:
    result = CliRunner().invoke(app, [*COUNT, "--annotate", "out.avi"])
    assert isinstance(result.exception, InvalidInputError), result.output
    assert (result.exception.message, result.exception.hint) == (
        "--annotate out.avi: this format of video cannot be written",
        "name the file .mp4, .mov or .mkv",
    )
    assert not [*folder.glob(".countline-*"), *folder.glob("out.avi")]
