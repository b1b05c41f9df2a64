"""Sealed secrets and the sources of master keys."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common.errors import InvalidInputError
from countline_common.secrets.master_keys import MasterKeySource, new_master_key, parse_master_keys
from countline_common.secrets.sealing import Key, UnreadableSecretError, new_secret, seal, unseal

KEY = Key("k1", new_secret())
PLACE = "cameras.sealed_source_url:door"


@given(st.binary(max_size=400), st.text("ab:/.\0", max_size=40))
def test_a_sealed_secret_opens_at_its_place_only(secret: bytes, place: str) -> None:
    sealed = seal(KEY, secret, place)
    assert unseal(KEY, sealed, place) == secret
    with pytest.raises(UnreadableSecretError):
        unseal(KEY, sealed, place + "x")


@given(st.data())
def test_a_changed_or_cut_value_does_not_open(data: st.DataObject) -> None:
    sealed = bytearray(seal(KEY, b"password", PLACE))
    if data.draw(st.booleans()):
        sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        sealed = sealed[: data.draw(st.integers(0, len(sealed) - 1))]
    with pytest.raises(UnreadableSecretError):
        unseal(KEY, bytes(sealed), PLACE)


def test_another_key_does_not_open_it_even_under_the_same_id() -> None:
    for other in (Key("k1", new_secret()), Key("k2", KEY.secret)):
        with pytest.raises(UnreadableSecretError):
            unseal(other, seal(KEY, b"password", PLACE), PLACE)


def test_the_same_secret_is_sealed_differently_each_time() -> None:
    assert len({seal(KEY, b"password", PLACE) for _ in range(100)}) == 100


def test_no_text_of_a_key_or_source_shows_its_secret() -> None:
    text = new_master_key()
    (key,) = parse_master_keys(text, "a test")
    assert text not in repr(MasterKeySource(text=text))
    assert repr(key.secret) not in repr(key)


def test_the_first_of_several_keys_is_the_current_one() -> None:
    first, second = new_master_key(), new_master_key()
    keys = parse_master_keys(f"# since May\n{first}  # new\n\n{second}\n", "a test")
    assert [key.secret for key in keys] == [parse_master_keys(each, "a test")[0].secret for each in (first, second)]


def test_every_source_gives_the_key(tmp_path: Path) -> None:
    text, file = new_master_key(), tmp_path / "key"
    file.write_text(text + "\n")
    sources = (MasterKeySource(file=file), MasterKeySource(text=text), MasterKeySource(command=f"cat '{file}'"))
    assert len({source.read()[0].key_id for source in sources}) == 1


SECRET = "not/a/key/but/a/SECRET"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (MasterKeySource(), "no master key is set"),
        (MasterKeySource(text=SECRET, command="true"), "several sources"),
        (MasterKeySource(text=SECRET), "line 1 of COUNTLINE_MASTER_KEY is no master key"),
        (MasterKeySource(text="# nothing"), "holds no master key"),
        (MasterKeySource(file=Path("/nowhere/key")), "there is no file /nowhere/key"),
        (MasterKeySource(command="/no/such/program"), "the command for the master key failed"),
        (MasterKeySource(command=f"sh -c 'echo {SECRET}; echo sealed vault >&2; exit 3'"), "exit code 3: sealed vault"),
        (MasterKeySource(command=f"echo {SECRET}"), "line 1 of COUNTLINE_MASTER_KEY_COMMAND is no master key"),
        (MasterKeySource(command="sh -c 'unclosed"), "the command for the master key failed"),
    ],
)
def test_an_unusable_source_is_named_without_its_content(source: MasterKeySource, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        source.read()
    assert caught.value.hint
    assert SECRET not in caught.value.message + caught.value.hint


def test_a_new_master_key_has_32_random_bytes() -> None:
    assert len(parse_master_keys(new_master_key(), "a test")[0].secret) == 32
    assert len({new_master_key() for _ in range(10)}) == 10
