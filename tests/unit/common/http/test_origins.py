"""Addresses of web pages in settings."""

import pytest

from countline_common.errors import InvalidInputError
from countline_common.http.origins import checked_origin


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("", ""),
        (" https://counts.example.org/ ", "https://counts.example.org"),
        ("https://Counts.Example.org:443", "https://counts.example.org"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_an_address_becomes_the_origin_that_browsers_send(text: str, origin: str) -> None:
    assert checked_origin(text, "COUNTLINE_X") == origin


@pytest.mark.parametrize(
    "text",
    [
        "counts.example.org",
        "ftp://host",
        "https://",
        "https://host/path",
        "https://host?x",
        "https://u@host",
        "http://[",
        "http://h:x",
    ],
)
def test_what_is_no_origin_is_refused_with_the_name_of_the_setting(text: str) -> None:
    with pytest.raises(InvalidInputError, match="COUNTLINE_X"):
        checked_origin(text, "COUNTLINE_X")
