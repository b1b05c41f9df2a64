"""Contexts of the command line: how they are kept, which one a command uses, and where its API key comes from."""

import json
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from countline_common.access.api_keys import new_key
from countline_common.cli.contexts import complete_context
from countline_common.contexts.api_keys import api_key_of
from countline_common.contexts.context import Context, named_context
from countline_common.contexts.store import Contexts, ContextStore
from countline_common.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from countline_common.grpc.discovery import discover
from countline_common.grpc.logins import Login, Profiles

PROD = Context(server="prod.org", user="vera", description="the real one")
TEST = Context(server="test.org")
LOGIN = Login("anna", "a", 1000.0, "r", 9000.0)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("COUNTLINE_DATA", "COUNTLINE_SERVER", "COUNTLINE_CONTEXT", "COUNTLINE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    token = named_context.set("")
    yield
    named_context.reset(token)


@pytest.fixture
def profiles(tmp_path: Path) -> Profiles:
    return Profiles(tmp_path / "config")


@pytest.fixture
def store(profiles: Profiles) -> ContextStore:
    return ContextStore(profiles.folder)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    addresses = {"auth": "h:1", "cameras": "h:2", "workers": "h:3", "gateway": "http://h:4"}
    (tmp_path / "data" / "run").mkdir(parents=True)
    (tmp_path / "data" / "run" / "endpoints.json").write_text(json.dumps(addresses))
    return tmp_path / "data"


def test_contexts_are_added_chosen_and_removed(store: ContextStore) -> None:
    assert store.load() == Contexts()
    store.add("prod", PROD)
    store.add("test", TEST)
    store.use("prod")
    assert store.load() == Contexts({"prod": PROD, "test": TEST}, "prod")
    with pytest.raises(AlreadyExistsError):
        store.add("prod", TEST)
    store.add("prod", TEST, replaces=True)
    assert store.load().get("prod") == TEST
    assert store.remove("prod") == TEST
    assert store.load() == Contexts({"test": TEST}, "")
    with pytest.raises(NotFoundError):
        store.use("prod")


def test_only_their_owner_reads_them_whatever_the_umask_is(store: ContextStore) -> None:
    store.add("prod", PROD)
    for path, mode in ((store.folder, 0o700), *((each, 0o600) for each in store.folder.iterdir())):
        assert stat.S_IMODE(path.stat().st_mode) == mode, path


def test_contexts_that_are_added_at_once_are_all_kept(store: ContextStore) -> None:
    names = [f"c{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.add(name, TEST), names))
    assert sorted(store.load().by_name) == sorted(names)


@pytest.mark.parametrize("name", ["", "Prod", "a/b", "../a", "a b", "-a", "x" * 64, "a\n"])
def test_a_name_that_could_be_a_path_or_an_option_is_refused(store: ContextStore, name: str) -> None:
    with pytest.raises(InvalidInputError):
        store.add(name, PROD)


@pytest.mark.parametrize(
    "context",
    [
        Context(),
        Context(server="a", data="/b"),
        Context(server="a", cert_file="/c", key_file="/k"),
        Context(server="a", api_key_file="/k", api_key_command="k"),
        Context(data="/b", user="vera"),
        Context(data="/b", ca_file="/ca"),
    ],
)
def test_a_context_that_contradicts_itself_is_refused(store: ContextStore, context: Context) -> None:
    with pytest.raises(InvalidInputError):
        store.add("prod", context)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"contexts": []}',
        '{"contexts": {"a": {"server": 1}}}',
        '{"contexts": {"a": {"server": "h", "colour": "red"}}}',
        '{"contexts": {"a": {}}}',
    ],
)
def test_a_damaged_file_is_named_in_the_error_and_not_overwritten(store: ContextStore, text: str) -> None:
    store.folder.mkdir(parents=True)
    path = store.folder / "contexts.json"
    path.write_text(text)
    for attempt in (store.load, lambda: store.add("b", TEST), lambda: store.use("")):
        with pytest.raises(InvalidInputError) as caught:
            attempt()
        assert str(path) in caught.value.message
        assert caught.value.hint
    assert path.read_text() == text


def test_the_nearest_choice_of_a_server_wins(
    store: ContextStore, profiles: Profiles, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the farthest to the nearest; each step stands above all before it."""
    profiles.set_current("last.org")
    assert discover(profiles=profiles).server == "last.org"
    store.add("prod", PROD)
    store.add("test", TEST)
    store.use("prod")
    assert discover(profiles=profiles).server == "prod.org"
    monkeypatch.setenv("COUNTLINE_CONTEXT", "test")
    assert (discover(profiles=profiles).server, discover(profiles=profiles).context) == ("test.org", "test")
    monkeypatch.setenv("COUNTLINE_DATA", str(data))
    assert discover(profiles=profiles).password_file == data / "credentials" / "admin-password"
    monkeypatch.setenv("COUNTLINE_SERVER", "variable.org")
    assert (discover(profiles=profiles).server, discover(profiles=profiles).context) == ("variable.org", "")
    named_context.set("prod")
    assert discover(profiles=profiles).server == "prod.org"
    assert discover("option.org", profiles=profiles).server == "option.org"
    assert discover(data=data, profiles=profiles).server == ""


def test_a_context_that_does_not_exist_is_never_replaced_by_another_server(
    store: ContextStore, profiles: Profiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles.set_current("last.org")
    monkeypatch.setenv("COUNTLINE_CONTEXT", "gone")
    with pytest.raises(NotFoundError, match="COUNTLINE_CONTEXT: there is no context 'gone'"):
        discover(profiles=profiles)
    named_context.set("lost")
    with pytest.raises(NotFoundError, match="--context: there is no context 'lost'"):
        discover(profiles=profiles)


def test_a_login_from_before_contexts_serves_a_context_and_named_users_have_their_own(
    store: ContextStore, profiles: Profiles
) -> None:
    profiles.login_file("prod.org").save(LOGIN)
    store.add("plain", Context(server="prod.org"))
    store.add("vera", PROD)
    named_context.set("plain")
    assert discover(profiles=profiles).login_file.load() == LOGIN
    named_context.set("vera")
    assert discover(profiles=profiles).login_file.load() is None
    assert discover(profiles=profiles).login_command == "countline --context vera login"


def test_a_data_folder_can_be_a_context(store: ContextStore, profiles: Profiles, data: Path) -> None:
    store.add("here", Context(data=str(data)))
    store.use("here")
    found = discover(profiles=profiles)
    assert (found.password_file, found.context) == (data / "credentials" / "admin-password", "here")
    assert found.data is not None
    assert found.data.root == data


def test_an_api_key_comes_from_a_file_that_others_cannot_read(
    store: ContextStore, profiles: Profiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, path = new_key(), tmp_path / "key"
    path.write_text(key + "\n")
    store.add("wall", Context(server="h", api_key_file=str(path)))
    store.use("wall")
    path.chmod(0o640)
    with pytest.raises(InvalidInputError, match="others can read") as caught:
        discover(profiles=profiles)
    assert caught.value.hint == f"chmod 600 {path}"
    path.chmod(0o600)
    assert discover(profiles=profiles).api_key == key
    assert key not in repr(discover(profiles=profiles))
    monkeypatch.setenv("COUNTLINE_API_KEY", "cl_other")
    assert discover(profiles=profiles).api_key == "cl_other"


def test_an_api_key_comes_from_a_command_and_no_error_quotes_it(tmp_path: Path) -> None:
    key = new_key()
    script = tmp_path / "keyring"
    script.write_text(f"#!/bin/sh\necho {key}\n")
    script.chmod(0o700)
    assert api_key_of("wall", Context(server="h", api_key_command=str(script))) == key
    script.write_text(f"#!/bin/sh\necho {key[:-1]}\necho locked >&2; exit $1\n")
    for code, said in (("0", "incomplete or mistyped"), ("3", "exit code 3: locked")):
        with pytest.raises(InvalidInputError, match=said) as caught:
            api_key_of("wall", Context(server="h", api_key_command=f"{script} {code}"))
        assert key[4:-1] not in caught.value.message + caught.value.hint
    with pytest.raises(InvalidInputError, match="failed"):
        api_key_of("wall", Context(server="h", api_key_command="/no/such/command"))


def test_tls_files_of_a_context_are_checked_before_a_call(store: ContextStore, profiles: Profiles) -> None:
    store.add("prod", Context(server="h", ca_file="/no/such/ca.pem"))
    named_context.set("prod")
    with pytest.raises((InvalidInputError, NotFoundError), match=r"/no/such/ca\.pem"):
        discover(profiles=profiles)


def test_the_shell_completes_the_names_of_contexts(store: ContextStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("countline_common.contexts.store.platformdirs.user_config_path", lambda *_, **__: store.folder)
    assert complete_context("") == []
    store.add("prod", PROD)
    store.add("test", TEST)
    assert complete_context("p") == ["prod"]
    (store.folder / "contexts.json").write_text("{")
    assert complete_context("p") == []
