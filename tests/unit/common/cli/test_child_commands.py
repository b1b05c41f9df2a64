"""Commands of Countline run as child processes."""

import pytest

from countline_common.cli.app import discover, load
from countline_common.cli.child_commands import INTERFACE, call, relayed
from countline_common.errors import InvalidInputError


@pytest.mark.parametrize(
    ("printed", "message", "hint"),
    [
        ("error: there is no file x\nhint: check the path\n", "there is no file x", "check the path"),
        ("some log\nerror: first\nerror: the last word\n", "the last word", ""),
        ("Traceback: boom\n", "it failed", ""),
        ("", "it failed", ""),
    ],
)
def test_the_error_of_a_command_is_told_in_its_own_words(printed: str, message: str, hint: str) -> None:
    error = relayed(printed, "it failed")
    assert (error.message, error.hint) == (message, hint)


def test_a_command_gives_its_output_or_its_error() -> None:
    assert "Commands" in call("--help", timeout_s=60, trouble="no help")
    with pytest.raises(InvalidInputError, match="no such thing"):
        call("no-such-command", timeout_s=60, trouble="no such thing")


@pytest.mark.parametrize("words", INTERFACE)
def test_every_command_that_other_rooms_call_exists(words: tuple[str, ...]) -> None:
    command = load(discover()[words[0]])
    subcommands = getattr(command, "commands", None)
    assert len(words) == 1 or subcommands is None or words[1] in subcommands
