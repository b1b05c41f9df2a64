"""A secret that is planted anywhere in an address appears in nothing that is shown."""

import io
import json
import logging
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common import logs
from countline_common.redaction import redact, redact_address

SECRET = "S3CRET"
NOISE = st.text(alphabet="abz09/:@\"'?#&=._-+~!$*(),;[]{}|^`\\<>%é", max_size=6)
"""Signs around the secret: people do not escape passwords."""
QUERY_NOISE = st.text(alphabet="abz09/:@\"'?#=._-+~!$*(),;[]{}|é", max_size=6)
"""As above, without the sign that ends a value."""
KEYS = (
    "pass", "loginpas", "pwd", "userpwd", "password", "passwd", "key", "api_key", "apiKey", "auth", "token",
    "access_token", "sig", "X-Amz-Signature", "secret", "PASS", "p%61ss", "session", "credentials",
)  # fmt: skip
SCHEMES = ("rtsp", "rtsps", "http", "https", "RTSP", "nats", "postgresql")


@st.composite
def planted(draw: st.DrawFn) -> str:
    """An address with the secret at one of the places where cameras take it."""
    scheme = draw(st.sampled_from(SCHEMES))
    place = draw(st.sampled_from(("password", "user", "query", "later", "path", "nested", "escaped")))
    if place in ("password", "user"):
        around = f"{draw(NOISE)}{SECRET}{draw(NOISE)}"
        user = "admin:" if place == "password" else ""
        around = around if user else around.replace(":", "")  # with a colon it is a user and a password
        return f"{scheme}://{user}{around}@10.0.0.7:554/live?x=1"
    value = f"{draw(QUERY_NOISE)}{SECRET}{draw(QUERY_NOISE)}"
    key = draw(st.sampled_from(KEYS))
    return {
        "query": f"{scheme}://10.0.0.7/live?{key}={value}",
        "later": f"{scheme}://10.0.0.7/live?user=a&{key}={value}&x=1#top",
        "path": f"{scheme}://10.0.0.7/user=admin_{key}={value}_channel=1_stream=0.sdp",
        "nested": f"{scheme}://10.0.0.7/api?src=rtsp://admin:{value}@cam/live",
        "escaped": f"{scheme}://10.0.0.7/api?src={quote(f'rtsp://admin:{value}@cam/live', safe='')}&x=1",
    }[place]


@given(planted())
def test_no_planted_secret_survives_in_an_address(address: str) -> None:
    assert SECRET not in redact_address(address)


@given(planted(), st.sampled_from(("{}", "cannot open {}: refused", "[{}]", "'{}' said no", "url={}", "a@b {} c@d")))
def test_no_planted_secret_survives_in_a_text(address: str, text: str) -> None:
    assert SECRET not in redact(text.format(address))


@given(planted())
def test_redacting_twice_changes_nothing_more(address: str) -> None:
    assert SECRET not in redact(redact_address(address))


class Holder:
    """An object that shows an address."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __repr__(self) -> str:
        return f"<Holder {self._address}>"


@given(planted())
def test_no_planted_secret_reaches_a_log(address: str) -> None:
    stream = io.StringIO()
    before = logging.getLogger().handlers[:]
    try:
        logs.configure("test", stream)
        log = logs.get_logger("planted")
        log.warning("opened", url=address, more={"a": [address], "b": Holder(address)}, error=ValueError(address))
        try:
            int(address)  # its error quotes the text
        except ValueError:
            log.exception("failed")
        logging.getLogger("library").warning("cannot open %s", address)
    finally:
        logging.getLogger().handlers[:] = before
    assert stream.getvalue().count("\n") >= 3
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://cam:554/live", "file:///media/@recordings/a.mp4", "mail joe@example.org: at 10:30",
        "the camera has 3 lines = 4 points", "http://cam/live?width=640&height=360",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert redact(text) == text


def test_a_long_text_is_cut_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(logs.FORMAT_VARIABLE, "json")
    stream = io.StringIO()
    before = logging.getLogger().handlers[:]
    try:
        logs.configure("test", stream)
        logs.get_logger("long").warning("refused", camera="a" * 1_000_000, items=["b" * 10_000] * 5)
    finally:
        logging.getLogger().handlers[:] = before
    event = json.loads(stream.getvalue())
    assert len(event["camera"]) < logs.LONGEST_TEXT + 100
    assert "1000000 characters" in event["camera"]
    assert len(stream.getvalue()) < 30_000
