r"""Commands of Countline as child processes: the declared interface between rooms that may not import each other.

    text = call("count", "clip.mp4", "--line", "door:0.1,0.5,0.9,0.5", "--json", timeout_s=600, trouble="...")

A room may call only the commands in `INTERFACE`; `command_line` refuses others. Their options, their JSON on standard
output and the form of their errors on standard error (`error: …`, then `hint: …`) are an interface: a change needs a
look at every caller.

| command | room | what a caller gets | called by |
| --- | --- | --- | --- |
| `count CLIP --json` | pipelines | the counts of a clip | models: quantize/counting, deploy/golden |
| `models prepare FILE --json` | models | a contract model from an ONNX file | common: triton/private, for `count` |
| `models render-demo --json` | models | the demo's clips with their truth | models: deploy/golden; local: demo/site |
| `audit protect` | control-plane | tables of the audit that the service cannot change | local: up/database_protection |
| `doctor --json` | pipelines | what the data plane finds on this machine | control-plane: cli/support |
| `serve all` | control-plane | the control-plane as a process | local: parts/services |
| `analytics ingest`, `analytics api` | analytics | ingest and gateway as processes | local: parts/services |
| `worker` | pipelines | a worker as a process | local: parts/services |
| `triton --until-eof --json` | local | an embedded Triton for one command | local: triton/private, for `count` |
| `up` | local | the same `up` in the background | local: cli/up |
"""

import subprocess
import sys
from collections.abc import Iterable
from typing import Final

from countline_common.errors import DeadlineExceededError, InvalidInputError

INTERFACE: Final = (
    ("analytics", "api"),
    ("analytics", "ingest"),
    ("audit", "protect"),
    ("count",),
    ("doctor",),
    ("models", "prepare"),
    ("models", "render-demo"),
    ("serve", "all"),
    ("triton",),
    ("up",),
    ("worker",),
)
"""The commands that may run as child processes, without their options."""
# `-P`: without it, modules in the current folder would hide those of Python.
_COUNTLINE: Final = (sys.executable, "-P", "-m", "countline_common")


def command_line(*arguments: str) -> list[str]:
    """The command line of a command in this Python and this checkout, whatever PATH says.

    Args:
        arguments: what follows `countline`.

    Raises:
        ValueError: the command is not in `INTERFACE`.
    """
    if not any(arguments[: len(words)] == words for words in INTERFACE):
        raise ValueError(f"`countline {' '.join(arguments[:2])}` is not a command of the interface between rooms")
    return [*_COUNTLINE, *arguments]


def call(*arguments: str, timeout_s: float, trouble: str) -> str:
    """Run a command of `INTERFACE` to its end. Ctrl-C ends it together with this process.

    Args:
        arguments: what follows `countline`.
        timeout_s: the command is killed after this time.
        trouble: the message of the error if the command fails and prints none.

    Returns:
        Its standard output.

    Raises:
        InvalidInputError: the command failed; message and hint are those that it printed.
        DeadlineExceededError: it took too long.
    """
    line = command_line(*arguments)
    try:
        done = subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DeadlineExceededError(
            f"{trouble}: it took longer than {timeout_s:g} s", hint="try again when this machine is less busy"
        ) from error
    if done.returncode != 0:
        raise relayed(done.stderr, trouble)
    return done.stdout


def relayed(stderr: str, trouble: str) -> InvalidInputError:
    r"""The error that a command printed, as an error of this process.

    >>> relayed("error: there is no file x.mp4\nhint: check the path\n", "it failed").hint
    'check the path'
    """
    message, hint = printed_error(stderr.splitlines())
    return InvalidInputError(message or trouble, hint=hint)


def printed_error(stderr: Iterable[str]) -> tuple[str, str]:
    """Message and hint of the last error that a command printed; empty strings for what it did not print."""
    message = hint = ""
    for line in stderr:
        if line.startswith("error: "):
            message, hint = line.removeprefix("error: "), ""
        elif line.startswith("hint: "):
            hint = line.removeprefix("hint: ")
    return message, hint
