"""Secrets that must not be in an archive of `countline support gather`."""

import io
import json
import tarfile
from typing import Any

import pytest

from countline_control.cli.support.archive import GatheredFile, archive_of
from countline_control.cli.support.scrubbing import Scrubber, shown_environment

KNOWN = 'k/n:o w"n-äsecret'
JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhZG1pbiJ9.c2lnbmF0dXJl"
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIBxsecretbody\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"before {KNOWN} behind", KNOWN),
        ("rtsp://joe:s3cret-pw@10.0.0.7/live", "s3cret-pw"),
        ("dsn postgresql://countline:pgsecret@db/auth failed", "pgsecret"),
        ("a key cl_0123456789AB_abcdefghijklmnopqrstuvwxyz0123456789 here", "abcdefghijklmnop"),
        (f"token {JWT}!", "eyJzdWIiOiJhZG1pbiJ9"),
        (f"file:\n{PEM}\nend", "secretbody"),
        (PEM[:50], "MC4CAQ"),
        ("two\nlines http://cam/?token=abcdef123\nthree", "abcdef123"),
    ],
)
def test_no_secret_is_left_in_a_text(text: str, secret: str) -> None:
    scrubbed = Scrubber([KNOWN]).text(text)
    assert secret not in scrubbed
    assert "***" in scrubbed


def test_text_without_secrets_stays_as_it_is() -> None:
    text = "INFO door.lost camera=door seen=12:30\n  at 10.0.0.7:554, admin\n\n"
    assert Scrubber(["admin", "", "short"]).text(text) == text


def test_a_secret_that_contains_another_one_is_masked_whole() -> None:
    assert Scrubber(["password", "password-of-the-door"]).text("x password-of-the-door y") == "x *** y"


@pytest.mark.parametrize(
    ("value", "scrubbed"),
    [
        ({"a": [KNOWN, 1, None, True], KNOWN: "x"}, {"a": ["***", 1, None, True], "***": "x"}),
        ({"admin_password": "x", "token": "y", "tls_key_file": "/k", "name": "door"},
         {"admin_password": "***", "token": "***", "tls_key_file": "/k", "name": "door"}),
        ({"password": "", "key": 7}, {"password": "", "key": 7}),
    ],
)  # fmt: skip
def test_values_are_scrubbed_at_every_depth(value: Any, scrubbed: Any) -> None:
    assert Scrubber([KNOWN]).value(value) == scrubbed


def test_only_settings_of_countline_are_shown_and_secrets_are_masked_by_name() -> None:
    environment = {
        "COUNTLINE_MASTER_KEY": "m", "COUNTLINE_MASTER_KEY_FILE": "/k", "COUNTLINE_API_KEY": "cl_x",
        "COUNTLINE_OIDC_CLIENT_SECRET": "s", "COUNTLINE_WORKER_TOKEN": "", "COUNTLINE_DATA": "/d", "AWS_SECRET": "a",
    }  # fmt: skip
    assert shown_environment(environment) == {
        "COUNTLINE_API_KEY": "***", "COUNTLINE_DATA": "/d", "COUNTLINE_MASTER_KEY": "***",
        "COUNTLINE_MASTER_KEY_FILE": "/k", "COUNTLINE_OIDC_CLIENT_SECRET": "***", "COUNTLINE_WORKER_TOKEN": "",
    }  # fmt: skip


def test_an_archive_is_one_folder_of_private_files_without_secrets() -> None:
    files = [GatheredFile("a.json", {"x": KNOWN}), GatheredFile(f"logs/{KNOWN[-6:]}.log", f"line {KNOWN}\n\ud800")]
    content = archive_of("gathered", files, Scrubber([KNOWN]))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = archive.getmembers()
        texts = [archive.extractfile(each).read().decode() for each in members]  # type: ignore[union-attr]
    assert [(each.name.split("/")[0], each.mode) for each in members] == [("gathered", 0o600)] * 2
    assert json.loads(texts[0]) == {"x": "***"}
    assert texts[1] == "line ***\n\\ud800"
