"""Whom a command asks, and how logins are kept."""

import json
from pathlib import Path

import pytest

from countline_common.errors import InvalidInputError, NotFoundError
from countline_common.grpc.discovery import discover
from countline_common.grpc.endpoints import Endpoints
from countline_common.grpc.logins import Login, LoginFile, Profiles

FULL = {"auth": "h:1", "cameras": "h:2", "workers": "h:3", "gateway": "http://h:4", "models": "h:5"}
LOGIN = Login("anna", "a", 1000.0, "r", 9000.0)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COUNTLINE_DATA", raising=False)
    monkeypatch.delenv("COUNTLINE_SERVER", raising=False)
    monkeypatch.delenv("COUNTLINE_CONTEXT", raising=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data" / "run").mkdir(parents=True)
    (tmp_path / "data" / "run" / "endpoints.json").write_text(json.dumps(FULL))
    return tmp_path / "data"


@pytest.fixture
def profiles(tmp_path: Path) -> Profiles:
    return Profiles(tmp_path / "config")


def test_a_host_has_the_usual_ports() -> None:
    assert Endpoints.parse("example.org") == Endpoints(
        "example.org:3001", "example.org:8000", "example.org:8003", "http://example.org:8080", "example.org:8005"
    )
    assert Endpoints.parse("[::1]").auth == "[::1]:3001"


def test_endpoints_may_be_written_out_or_read_from_a_file(data: Path) -> None:
    assert Endpoints.parse(",".join(f"{name}={value}" for name, value in FULL.items())) == Endpoints(**FULL)
    assert Endpoints.parse(str(data / "run" / "endpoints.json")) == Endpoints(**FULL)


@pytest.mark.parametrize(
    "text", ["", "http://h", "h:3001", "auth=h:1", "auth=h,cameras=h:2,workers=h:3,gateway=x", "a/b"]
)
def test_a_name_that_is_no_server_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        Endpoints.parse(text)


def test_what_runs_on_this_machine_is_asked_with_its_own_password(data: Path, profiles: Profiles) -> None:
    target = discover(data=data, profiles=profiles)
    assert target.endpoints == Endpoints(**FULL)
    assert target.password_file == data / "credentials" / "admin-password"
    assert target.login_file.path == data / "run" / "cli-login.json"


def test_the_last_login_is_asked_before_this_machine_and_a_named_folder_before_it(
    data: Path, profiles: Profiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles.set_current("example.org")
    assert discover(profiles=profiles).server == "example.org"
    assert discover(profiles=profiles).password_file is None
    assert discover(data=data, profiles=profiles).server == ""
    monkeypatch.setenv("COUNTLINE_DATA", str(data))
    assert discover(profiles=profiles).server == ""
    monkeypatch.setenv("COUNTLINE_SERVER", "other.org")
    assert discover(profiles=profiles).server == "other.org"
    assert discover("third.org", profiles=profiles).server == "third.org"


def test_where_nothing_runs_the_hint_is_to_start_it(tmp_path: Path, profiles: Profiles) -> None:
    with pytest.raises(NotFoundError) as caught:
        discover(data=tmp_path, profiles=profiles)
    assert caught.value.hint == "start one: countline up"


def test_a_login_is_kept_where_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = LoginFile(tmp_path / "config" / "login.json")
    assert file.load() is None
    file.save(LOGIN)
    assert file.load() == LOGIN
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
    file.path.write_text('{"half":')
    assert file.load() is None
    file.delete()
    file.delete()


def test_logins_at_two_servers_do_not_mix(profiles: Profiles) -> None:
    profiles.login_file("a.org").save(LOGIN)
    assert profiles.login_file("b.org").load() is None
    assert profiles.login_file("a.org").load() == LOGIN


def test_a_token_is_renewed_a_minute_before_its_end() -> None:
    assert LOGIN.is_fresh(939.0)
    assert not LOGIN.is_fresh(941.0)


async def test_a_login_file_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    import asyncio

    inside = 0

    async def hold() -> None:
        nonlocal inside
        async with LoginFile(tmp_path / "l.json").locked():
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(*(hold() for _ in range(5)))
