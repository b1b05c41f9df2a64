"""Secrets are made once, and nobody else can read them."""

import stat
from pathlib import Path

from countline_common.secrets.secret_files import ensure_secret, new_password, write_secret


def test_a_secret_is_made_once_and_then_kept(tmp_path: Path) -> None:
    path = tmp_path / "credentials" / "admin-password"
    first = ensure_secret(path)
    assert len(first) >= 20
    assert ensure_secret(path) == first


def test_only_the_owner_can_read_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "credentials" / "key"
    write_secret(path, "s3cret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_a_killed_process_left_half_written_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / ".key.partial").write_text("ha")
    assert ensure_secret(tmp_path / "key", lambda: "whole") == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_passwords_differ_and_need_no_quoting() -> None:
    passwords = {new_password() for _ in range(100)}
    assert len(passwords) == 100
    assert all(
        set(password) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
        for password in passwords
    )
