import pytest
from tests.fixtures.cli.commands import leaves

from countline_common.cli.app import discover, load


@pytest.mark.parametrize("name", sorted(discover()))
def test_the_help_of_every_command_has_an_example(name: str) -> None:
    missing = [full for full, leaf in leaves(name, load(discover()[name])) if "Example" not in (leaf.help or "")]
    assert not missing
