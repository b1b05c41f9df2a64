"""The form of tables that commands print."""

import pytest

from countline_common.cli.tables import new_table
from countline_common.cli.terminal import Terminal


def test_a_table_has_no_borders_and_numbers_stand_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    table = new_table("LINE", "IN", "P95(ms)", numbers=("IN", "P95(ms)"), title="camera [b]door[/b]\nnext")
    table.add_row("gate", "7", "12.5")
    table.add_row("[red]yard", "1024", "3.0")
    Terminal().print(table)
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "camera [b]door[/b]\\nnext",
        "LINE         IN  P95(ms)",
        "gate          7     12.5",
        "[red]yard  1024      3.0",
    ]


def test_a_line_feed_in_a_name_does_not_break_a_row_or_the_headings(capsys: pytest.CaptureFixture[str]) -> None:
    table = new_table("FROM", "line:a\nb")
    table.add_row("zone:a\nb\tc", "1")
    Terminal().print(table)
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "FROM          line:a\\nb",
        "zone:a\\nb\\tc  1",
    ]
