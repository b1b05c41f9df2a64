"""Files that a command writes: whole or not at all, and never over a file that it reads."""

import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from countline_common.errors import CountlineError, InvalidInputError, ResourceExhaustedError
from countline_common.files import output_files
from countline_common.files.output_files import OutputFiles


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")
    target.chmod(0o640)
    with OutputFiles() as outputs:
        outputs.open("--out", target).write(b"new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert names(tmp_path) == ["out.txt"]


def fail(target: Path, error: type[BaseException]) -> None:
    with OutputFiles() as outputs:
        outputs.open("--out", target).write(b"new")
        raise error


def open_both(first: Path, second: Path) -> None:
    with OutputFiles() as outputs:
        outputs.open("--a", first).write(b"first")
        outputs.open("--b", second).write(b"second")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_after_an_error_the_old_file_stays_and_no_temporary_one(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(error):
        fail(target, error)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["out.txt"]


def test_files_that_are_discarded_are_not_made(tmp_path: Path) -> None:
    with OutputFiles() as outputs:
        outputs.open("--out", tmp_path / "out.txt").write(b"new")
        outputs.discard()
    assert names(tmp_path) == []


def a_symbolic_link(source: Path) -> Path:
    link = source.with_name("link")
    link.symlink_to(source)
    return link


def a_hard_link(source: Path) -> Path:
    link = source.with_name("link")
    link.hardlink_to(source)
    return link


def a_link_in_a_linked_folder(source: Path) -> Path:
    folder = source.parent / "folder"
    folder.symlink_to(source.parent)
    return folder / source.name


def a_relative_path(source: Path) -> Path:
    return Path(os.path.relpath(source))


@pytest.mark.parametrize(
    "other_name", [lambda source: source, a_symbolic_link, a_hard_link, a_link_in_a_linked_folder, a_relative_path]
)
def test_an_input_is_refused_under_every_name(tmp_path: Path, other_name: Callable[[Path], Path]) -> None:
    source = tmp_path / "in.txt"
    source.write_text("kept")
    with pytest.raises(InvalidInputError, match="a file that this command reads"), OutputFiles([source]) as outputs:
        outputs.open("--out", other_name(source))
    assert source.read_text() == "kept"


def test_inputs_that_are_addresses_or_missing_refuse_nothing(tmp_path: Path) -> None:
    with OutputFiles(["rtsp://host/live", tmp_path / "missing", None]) as outputs:
        outputs.open("--out", tmp_path / "missing").write(b"made")
    assert (tmp_path / "missing").read_bytes() == b"made"


def test_two_options_cannot_name_one_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "out.txt")
    with pytest.raises(InvalidInputError, match="--b and --a name the same file"):
        open_both(tmp_path / "out.txt", tmp_path / "link")
    assert names(tmp_path) == ["link"]
    with pytest.raises(InvalidInputError, match="name the same file"):
        open_both(Path("-"), Path("/dev/stdout"))


def test_a_symbolic_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real.txt")
    with OutputFiles() as outputs:
        outputs.open("--out", tmp_path / "link").write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real.txt").read_bytes() == b"new"


@pytest.mark.parametrize(("path", "words"), [("missing/out.txt", "No such file"), (".", "Is a directory")])
def test_a_path_that_cannot_be_written_is_reported_at_once(tmp_path: Path, path: str, words: str) -> None:
    with pytest.raises(InvalidInputError, match=f"--out .*{words}") as caught, OutputFiles() as outputs:
        outputs.open("--out", tmp_path / path)
    assert caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.touch(0o444)
    with pytest.raises(InvalidInputError, match="Permission denied"), OutputFiles() as outputs:
        outputs.open("--out", target)


def test_a_full_disk_is_reported_at_the_end_and_ends_no_work() -> None:
    with OutputFiles() as outputs:
        output = outputs.open("--out", Path("/dev/full"))
        for _ in range(100):
            output.write(b"x" * 10_000)
        with pytest.raises(ResourceExhaustedError, match="--out /dev/full: No space left"):
            outputs.commit()
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode), "the device was not replaced by a file"


def test_a_file_that_fails_does_not_hold_back_the_others(tmp_path: Path) -> None:
    with pytest.raises(CountlineError, match="/dev/full"):
        open_both(Path("/dev/full"), tmp_path / "b.txt")
    assert (tmp_path / "b.txt").read_bytes() == b"second"


def test_a_pipe_is_written_directly_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    with OutputFiles() as outputs:
        outputs.open("--out", pipe).write(b"through the pipe")
    reader.join(10)
    assert read == [b"through the pipe"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_pipe_that_no_program_reads_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command waited for ever, before its first frame and without a word."""
    monkeypatch.setattr("countline_common.files.pipes.READER_WITHIN_S", 0.2)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with (
        OutputFiles() as outputs,
        pytest.raises(InvalidInputError, match=r"no program opened the pipe.*0\.2 s") as found,
    ):
        outputs.open("--out", pipe)
    assert "start the program that reads the pipe" in found.value.hint


def test_a_reader_that_stops_reading_is_an_error_and_one_that_leaves_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("countline_common.files.pipes.READS_WITHIN_S", 0.2)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for leaves, problem in ((False, "took nothing for 0.2 s"), (True, "Broken pipe")):
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        outputs = OutputFiles()
        output = outputs.open("--out", pipe)
        if leaves:
            os.close(reader)
        for _ in range(100):
            output.write(bytes(10_000))
        with pytest.raises(InvalidInputError, match=problem):
            outputs.commit()
        if not leaves:
            os.close(reader)


def test_a_slow_reader_gets_everything(tmp_path: Path) -> None:
    pipe, sent = tmp_path / "pipe", os.urandom(500_000)
    os.mkfifo(pipe)
    read = bytearray()

    def read_slowly() -> None:
        with pipe.open("rb", buffering=0) as file:
            while part := file.read(30_000):
                read.extend(part)
                time.sleep(0.01)

    reader = threading.Thread(target=read_slowly)
    reader.start()
    with OutputFiles() as outputs:
        output = outputs.open("--out", pipe)
        for start in range(0, len(sent), 999):
            output.write(sent[start : start + 999])
    reader.join(10)
    assert bytes(read) == sent


def test_a_format_that_goes_back_in_its_file_is_refused_on_pipes_and_standard_output(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("-"), Path("/dev/stdout")):
        with pytest.raises(InvalidInputError, match="pipe or to standard output"), OutputFiles() as outputs:
            outputs.open("--annotate", path, seeks=True)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_standard_output_is_written_where_it_stands(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    os.write(1, b"before ")
    with OutputFiles() as outputs:
        outputs.open("--out", tmp_path / "link" if name == "link" else Path(name)).write(b"the file ")
        assert outputs.takes_standard_output
    os.write(1, b"after")
    assert capfd.readouterr().out == "before the file after"


def test_standard_output_that_is_an_input_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`countline replay boxes.jsonl --tracks-out - 1<> boxes.jsonl`."""
    source = tmp_path / "boxes.jsonl"
    source.write_text("kept")
    with source.open("r+b") as file:
        monkeypatch.setattr(output_files, "_STANDARD_OUTPUT", file.fileno())
        with pytest.raises(InvalidInputError, match="that this command reads"):
            OutputFiles([source]).open("--tracks-out", Path("-"))
        # Also if the command prints a summary only: `countline replay boxes.jsonl --json >>boxes.jsonl`.
        with pytest.raises(InvalidInputError, match="cannot write standard output"), OutputFiles([source]):
            pass
    assert source.read_text() == "kept"
