"""Commands of Countline run as child processes."""

import pytest

from countline_common.cli.app import discover, load
from countline_common.cli.child_commands import INTERFACE, call, command_line, relayed
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
def test_the_error_of_a_command_keeps_its_own_words(printed: str, message: str, hint: str) -> None:
    error = relayed(printed, "it failed")
    assert (error.message, error.hint) == (message, hint)


def test_a_command_gives_its_output_or_its_error() -> None:
    assert "countline models prepare" in call("models", "prepare", "--help", timeout_s=60, trouble="no help")
    with pytest.raises(InvalidInputError, match="no such option: --nonsense") as caught:
        call("models", "prepare", "--nonsense", timeout_s=60, trouble="it failed")
    assert caught.value.hint == "see 'countline models prepare --help'"


@pytest.mark.parametrize("words", [(), ("down",), ("models",), ("models", "list"), ("serve", "auth")])
def test_a_command_outside_the_interface_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="not a command of the interface"):
        command_line(*words)


@pytest.mark.parametrize("words", INTERFACE)
def test_every_command_that_other_rooms_call_exists(words: tuple[str, ...]) -> None:
    command = load(discover()[words[0]])
    subcommands = getattr(command, "commands", None)
    assert len(words) == 1 or subcommands is None or words[1] in subcommands
