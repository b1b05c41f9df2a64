"""`-o table|wide|json|yaml`: which commands have it, what it prints, and how commands end."""

import json
from pathlib import Path

import pytest
import yaml
from tests.fixtures.cli.commands import leaves
from typer.testing import CliRunner

from countline.v1.cameras_pb2 import Camera
from countline.v1.workers_pb2 import Worker
from countline_common.cli import app as root
from countline_common.cli.app import app, discover, load
from countline_common.cli.output import LISTS
from countline_common.cli.usage import CommandUsageError
from countline_common.contexts.context import Context
from countline_common.contexts.store import ContextStore


@pytest.fixture
def contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ContextStore:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("COUNTLINE_CONTEXT", raising=False)
    store = ContextStore()
    store.add("prod", Context(server="prod.org", description="Größe: 5 – “yes”\n- no"))
    return store


def printed(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_command_that_lists_or_shows_as_json_has_the_option() -> None:
    having, lacking = set(), set()
    for name, lazy in discover().items():
        for full, command in leaves(name, load(lazy)):
            options = {option for parameter in command.params for option in parameter.opts}
            if full.rpartition(" ")[2] in LISTS and "--json" in options:
                (having if {"-o", "--output"} <= options else lacking).add(full)
    assert lacking == set()
    assert {"cameras list", "cameras show", "workers list", "counts", "models list", "context show"} <= having


@pytest.mark.usefixtures("contexts")
def test_json_and_yaml_say_the_same() -> None:
    as_json = json.loads(printed("context", "list", "--json"))
    assert json.loads(printed("context", "list", "-o", "json")) == as_json
    assert yaml.safe_load(printed("context", "list", "--output", "yaml")) == as_json
    assert as_json["contexts"][0]["description"] == "Größe: 5 – “yes”\n- no"
    assert printed("context", "list", "-o", "table") == printed("context", "list")


@pytest.mark.usefixtures("contexts")
def test_a_form_holds_for_one_command() -> None:
    printed("context", "list", "-o", "yaml")
    assert json.loads(printed("context", "list", "--json"))


@pytest.mark.parametrize("words", [("-o", "xml"), ("--json", "-o", "yaml"), ("--json", "-o", "table")])
def test_a_form_that_does_not_exist_or_contradicts_is_a_usage_error(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["context", "list", *words])
    assert isinstance(result.exception, CommandUsageError)


def test_wide_tables_have_more_columns_and_one_line_a_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    door = Camera(
        camera_id="door", location="main entrance", revision=7, tags=["north"], stream_url=f"rtsp://{'h' * 200}"
    )
    answers = {"cameras": [door], "workers": [Worker(worker_id="w", clock_offset_s=0.25)]}
    monkeypatch.setattr("countline_control.cli.cameras.ask", lambda *_: answers["cameras"])
    monkeypatch.setattr("countline_control.cli.workers.ask", lambda *_: answers["workers"])
    usual, wide = printed("cameras", "list"), printed("cameras", "list", "-o", "wide")
    assert "main entrance" not in usual
    heading, row = wide.splitlines()
    assert heading.split()[-3:] == ["LOCATION", "TAGS", "REVISION"]
    assert row.split()[-4:] == ["main", "entrance", "north", "7"]
    assert "OFFSET" not in printed("workers", "list")
    assert "+0.250 s" in printed("workers", "list", "-o", "wide")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--version",), 0),
        (("context", "list"), 0),
        (("context", "use", "ghost"), 1),
        (("--context", "ghost", "sites", "list"), 1),
        (("sites", "list", "--server", "127.0.0.1"), 1),
        (("nonsense",), 2),
        (("context", "list", "--nonsense"), 2),
        (("context", "list", "-o", "xml"), 2),
        (("check", "cameras", "--nonsense"), 3),
        (("status", "--data", "/no/such/folder"), 3),
    ],
)
@pytest.mark.usefixtures("contexts")
def test_commands_end_as_the_page_of_the_command_line_says(
    words: tuple[str, ...], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["countline", *words])
    assert root.run() == status
