"""Counts a clip whose crossings are known, with the model under test.

This room does not import the one that counts: a child process runs `countline count` with the Triton that serves the
model. The child is killed if its caller stops waiting.
"""

import asyncio
import json
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from countline_common.cli.child_commands import call, command_line, printed_error
from countline_common.errors import CountlineError, DeadlineExceededError, InternalError, InvalidInputError
from countline_common.triton import ModelRef
from countline_models.deploy.child import child
from countline_models.deploy.truth import ClipLine, ClipTruth, CountedLine
from countline_models.deploy.truth_files import parse_truth

GOLDEN_TIMEOUT_S: Final = 900.0
RENDER_TIMEOUT_S: Final = 300.0
TAIL_LINES: Final = 40
DEMO_CLIP: Final = "street"
"""The demo clip with a line for each class, crossed in both directions: 7 vehicles, 3 people."""


async def count_golden(
    triton_address: str,
    ref: ModelRef,
    clip: Path,
    truth: ClipTruth,
    on_progress: Callable[[float], None],
    *,
    shown: str = "",
    timeout_s: float = GOLDEN_TIMEOUT_S,
) -> tuple[CountedLine, ...]:
    """Count a clip with one version of a model.

    Args:
        triton_address: host:port of the gRPC service that serves the model.
        ref: the version.
        clip: the video file.
        truth: the lines to count; its numbers are not given to the child.
        on_progress: called with the finished share, 0..1.
        shown: name of the clip in errors, as its owner knows it; by default that of the file. The path may lie in a
            folder of this service, and never appears.
        timeout_s: limit for the whole count.

    Raises:
        InvalidInputError: the clip or the lines cannot be used; the message is that of `countline count`.
        DeadlineExceededError: the count takes too long.
    """
    shown = shown or clip.name
    async with child(_command(triton_address, ref, clip, truth)) as process:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(timeout_s):
                stdout, tail = await _followed(process, on_progress)
                status = await process.wait()
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"counting {shown} took longer than {timeout_s:g} s", hint="give a shorter clip"
            ) from error
    if status != 0:
        said = [line.replace(f"{clip}: ", "").replace(str(clip), shown) for line in tail]
        raise relayed(said, f"{shown} cannot be counted")
    return _counted(json.loads(stdout), truth)


def _command(triton_address: str, ref: ModelRef, clip: Path, truth: ClipTruth) -> list[str]:
    options = ["--json", "--progress-json", "--triton", triton_address, "--model", str(ref)]
    options += [f"--line={_line(name, line)}" for name, line in truth.lines.items()]
    options += [f"--classes={','.join(truth.classes)}"] if truth.classes else []
    return command_line("count", *options, "--", str(clip))


def _line(name: str, line: ClipLine) -> str:
    """A line in the form of `countline count --line`."""
    return f"{name}:{','.join(f'{value:.6g}' for point in line.points for value in point)}"


async def _followed(
    process: asyncio.subprocess.Process, on_progress: Callable[[float], None]
) -> tuple[bytes, list[str]]:
    """Standard output, and the last lines of standard error. Both are read, or the child would block on a full pipe."""
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.TaskGroup() as group:
        stdout = group.create_task(process.stdout.read(), name="golden-count-output")
        tail = group.create_task(_watch(process.stderr, on_progress), name="golden-count-progress")
    return stdout.result(), tail.result()


async def _watch(stderr: asyncio.StreamReader, on_progress: Callable[[float], None]) -> list[str]:
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    async for raw in stderr:
        line = raw.decode(errors="replace").rstrip("\n")
        share = _progress(line)
        if share is None:
            tail.append(line)
        else:
            on_progress(share)
    return list(tail)


def _progress(line: str) -> float | None:
    """The finished share that a line of standard error reports; None for other lines.

    >>> _progress('{"share": 0.25, "frames": 60}'), _progress("error: no")
    (0.25, None)
    """
    try:
        report: Any = json.loads(line)
        return min(max(float(report["share"]), 0.0), 1.0)
    except (ValueError, TypeError, KeyError):
        return None


def relayed(stderr: Sequence[str], fallback: str) -> CountlineError:
    """The error that the child printed, as an error of this process."""
    message, hint = printed_error(stderr)
    if message:
        return InvalidInputError(f"{fallback}: {message}", hint=hint)
    words = " ".join(" ".join(stderr[-5:]).split())
    return InternalError(f"{fallback}: {words or 'it printed no reason'}", hint="see the log of this service")


def _counted(summary: Any, truth: ClipTruth) -> tuple[CountedLine, ...]:
    counts = summary["lines"]
    return tuple(
        CountedLine(name, line.into, line.out, int(counts[name]["in"]), int(counts[name]["out"]))
        for name, line in truth.lines.items()
    )


def demo_golden(labels: Sequence[str], folder: Path) -> tuple[Path, ClipTruth] | None:
    """A demo clip and its truth, for models whose classes are the demo's; None for others.

    A model with other classes was trained on other pictures, so the demo's drawn figures would prove nothing.

    Args:
        labels: class names of the model.
        folder: folder of the clip; a missing clip is rendered to it, which takes seconds.

    Raises:
        CountlineError: the clip cannot be rendered.
    """
    from countline_demo.scenes.render import is_rendered
    from countline_demo.scenes.scene import CLASSES

    if sorted(labels) != sorted(CLASSES):
        return None
    if not is_rendered(folder, DEMO_CLIP):
        _render(folder)
    truth = parse_truth((folder / f"{DEMO_CLIP}.json").read_text(encoding="utf-8"))
    return folder / f"{DEMO_CLIP}.mp4", truth


def _render(folder: Path) -> None:
    """Render into a temporary folder and move the files into place. The JSON comes last: it shows a complete clip."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as fresh:
        arguments = ["--out", fresh, "--only", DEMO_CLIP, "--json"]
        trouble = "the demo clip cannot be rendered"
        call("models", "render-demo", *arguments, timeout_s=RENDER_TIMEOUT_S, trouble=trouble)
        for name in (f"{DEMO_CLIP}.mp4", f"{DEMO_CLIP}.json"):
            (Path(fresh) / name).replace(folder / name)
