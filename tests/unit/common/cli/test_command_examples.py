from collections.abc import Iterator

import pytest

from countline_common.cli.app import Command, discover, load


def leaves(name: str, command: Command) -> Iterator[tuple[str, Command]]:
    """The commands below a command that have no commands of their own, with their full names."""
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
        return
    for word, each in below.items():
        yield from leaves(f"{name} {word}", each)


@pytest.mark.parametrize("name", sorted(discover()))
def test_the_help_of_every_command_has_an_example(name: str) -> None:
    missing = [full for full, leaf in leaves(name, load(discover()[name])) if "Example" not in (leaf.help or "")]
    assert not missing
