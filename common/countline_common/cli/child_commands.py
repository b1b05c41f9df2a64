"""Commands of Countline as child processes: how the rooms know each other where they may not import each other.

text = call("count", "clip.mp4", "--line", "door:0.1,0.5,0.9,0.5", "--json", timeout_s=600, trouble="...")
"""

import subprocess
import sys
from collections.abc import Iterable
from typing import Final

from countline_common.errors import DeadlineExceededError, InvalidInputError

COMMAND: Final = (sys.executable, "-c", "from countline_common.cli.app import main; main()")
"""`countline`, in this Python and this checkout, whatever PATH says."""


def call(*arguments: str, timeout_s: float, trouble: str) -> str:
    """Run a command to its end; it is killed where it takes too long, and with Ctrl-C it ends as this process does.

    Args:
        arguments: what follows `countline`.
        timeout_s: it may take so long.
        trouble: what to say where it fails and says nothing itself.

    Returns:
        Its standard output.

    Raises:
        InvalidInputError: it failed; the message and the hint are those that it printed.
        DeadlineExceededError: it took too long.
    """
    try:
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise DeadlineExceededError(f"{trouble}: it took longer than {timeout_s:g} s") from error
    if done.returncode != 0:
        raise relayed(done.stderr, trouble)
    return done.stdout


def relayed(stderr: str, trouble: str) -> InvalidInputError:
    r"""The error that another command printed, as an error of this one.

    >>> relayed("error: there is no file x.mp4\n  hint: check the path\n", "it failed").hint
    'check the path'
    """
    message, hint = told(stderr.splitlines())
    return InvalidInputError(message or trouble, hint=hint)


def told(stderr: Iterable[str]) -> tuple[str, str]:
    """The error that a command printed, and its hint; empty for what it did not say."""
    message = hint = ""
    for line in stderr:
        if line.startswith("error: "):
            message = line.removeprefix("error: ")
        elif line.strip().startswith("hint: "):
            hint = line.strip().removeprefix("hint: ")
    return message, hint
