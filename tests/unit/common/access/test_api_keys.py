"""The form of API keys."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common.access.api_keys import is_key, new_key, read_key
from countline_common.errors import UnauthenticatedError
from countline_common.redaction import redact

KEY = new_key()


def test_a_key_has_a_prefix_a_public_id_and_a_secret() -> None:
    assert re.fullmatch(r"cl_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}", KEY)
    parts = read_key(KEY)
    assert KEY.startswith(f"cl_{parts.key_id}_")
    assert len(parts.secret_hash) == 32
    assert KEY not in repr(parts)
    assert "secret_hash" not in repr(parts)


def test_no_two_keys_are_alike() -> None:
    assert len({read_key(new_key()).key_id for _ in range(1000)}) == 1000


@given(st.integers(3, len(KEY) - 1), st.sampled_from(string.ascii_letters + string.digits + "_- é"))
def test_a_mistyped_key_is_found_without_a_lookup(at: int, letter: str) -> None:
    changed = KEY[:at] + letter + KEY[at + 1 :]
    if changed == KEY:
        return
    with pytest.raises(UnauthenticatedError, match="incomplete or mistyped") as caught:
        read_key(changed)
    assert changed not in str(caught.value)


@pytest.mark.parametrize("form", ["cl_", "cl_x", "{cut}", "{key}0", " {key}", "{key}\n", "cl_" + "é" * 51])
def test_what_is_no_whole_key_is_refused(form: str) -> None:
    with pytest.raises(UnauthenticatedError):
        read_key(form.format(key=KEY, cut=KEY[:-1]))


def test_an_access_token_is_no_key() -> None:
    assert is_key(KEY)
    assert not is_key("eyJhbGciOiJFZERTQSJ9.e30.x")


def test_no_log_line_and_no_error_shows_a_key() -> None:
    key_id = KEY[3:15]
    assert redact(f"the call with {KEY} failed") == f"the call with cl_{key_id}_*** failed"
    assert KEY[20:] not in str(UnauthenticatedError(f"key {KEY} is unknown"))
