"""What every room builds on: times, redaction, addresses, the data folder, the root of the command line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common import settings, times
from countline_common.data import bus
from countline_common.errors import InvalidInputError
from countline_common.redaction import redact


@given(st.integers(min_value=0, max_value=4_000_000_000_000_000))
def test_a_capture_time_survives_the_way_to_the_database_and_back(microseconds: int) -> None:
    t = microseconds / 1e6
    assert times.to_microseconds(times.from_timestamp(times.to_timestamp(t))) == microseconds
    assert times.to_microseconds(times.to_datetime(t).timestamp()) == microseconds


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("rtsp://joe:secret@cam/live", "rtsp://joe:***@cam/live"),
        ("rtsp://joe:p@ss:word@cam/live", "rtsp://joe:***@cam/live"),  # unescaped signs in the password
        ("nats://a:b@h:1,nats://c:d@h:2", "nats://a:***@h:1,nats://c:***@h:2"),
        ("http://cam/live?token=abc&x=1", "http://cam/live?token=***&x=1"),
        ("postgresql://u:p@127.0.0.1:5432/db: refused", "postgresql://u:***@127.0.0.1:5432/db: refused"),
        ("rtsp://cam:554/live", "rtsp://cam:554/live"),  # a port is no password
        ("mail joe@example.org: at 10:30", "mail joe@example.org: at 10:30"),
    ],
)
def test_passwords_in_addresses_are_masked(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize("address", ["8080", "host:", "host:http", ":8080", "host:70000"])
def test_an_address_without_a_usable_port_is_refused(address: str) -> None:
    with pytest.raises(InvalidInputError, match="no address"):
        settings.host_port(address)


def test_an_address_may_hold_an_ipv6_host() -> None:
    assert settings.host_port("[::1]:8080") == ("::1", 8080)


def test_the_option_beats_the_variable_for_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COUNTLINE_DATA", str(tmp_path / "variable"))
    assert settings.DataFolder.resolve(tmp_path / "option").root == tmp_path / "option"
    assert settings.DataFolder.resolve().root == tmp_path / "variable"


@pytest.mark.parametrize("camera_id", ["a.b", "*", ">", "a b", ""])
def test_an_id_that_would_widen_a_subject_is_refused(camera_id: str) -> None:
    with pytest.raises(InvalidInputError):
        bus.status_subject(camera_id)


def test_the_list_of_commands_imports_no_room_beyond_its_manifest() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from countline_common.cli.app import app;"
        "result = CliRunner().invoke(app, ['--help']); assert result.exit_code == 0, result.output;"
        "heavy = {'numpy', 'grpc', 'av', 'sqlalchemy', 'aiohttp', 'onnx', 'nats'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_the_root_prints_its_version_and_ends_well() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "countline_common", "--version"], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert re.fullmatch(r"countline \d+\.\d+\.\d+\n", found.stdout)


def test_a_command_whose_dependency_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from countline_common.cli import app as cli

    command = cli.LazyCommand(name="lost", help="", target="json:loads", extra="pipelines")

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name="numpy")

    monkeypatch.setattr(cli.importlib, "import_module", missing)
    with pytest.raises(cli.MissingExtraError) as caught:
        cli.load(command)
    assert caught.value.hint == "pip install 'countline[pipelines]'"
