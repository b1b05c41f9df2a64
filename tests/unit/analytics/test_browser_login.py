"""Which requests may use the cookie of a browser."""

import pytest
from aiohttp.test_utils import make_mocked_request

from countline_analytics.api.browser_login import own_origin
from countline_common.errors import PermissionDeniedError

PUBLIC = "https://counts.example.org"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("https://a.example", "a.example"),
        ("https://a.example", "A.example:443"),
        ("http://[::1]:8080", "[::1]:8080"),
        (PUBLIC, "10.0.0.5:8080"),
    ],
)
def test_our_own_page_may(origin: str, host: str) -> None:
    request = make_mocked_request("POST", "/", headers={"Origin": origin, "Host": host})
    assert own_origin(request, PUBLIC) == origin


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("", "a.example"),
        ("null", "null"),
        ("https://", ""),
        ("https://b.example", "a.example"),
        ("https://a.example:8443", "a.example"),
        ("http://a.example", "a.example:443"),
        ("https://a.example.b.example", "a.example"),
        ("https://a.example/", "a.example"),
        ("https://x@a.example", "a.example"),
        ("ftp://a.example", "a.example"),
        ("http://counts.example.org", "10.0.0.5"),
    ],
)
def test_other_pages_may_not(origin: str, host: str) -> None:
    request = make_mocked_request("POST", "/", headers={"Origin": origin, "Host": host})
    with pytest.raises(PermissionDeniedError):
        own_origin(request, PUBLIC)
