"""A secret that is planted anywhere in an address appears in nothing that is shown."""

import io
import json
import logging
from contextlib import redirect_stderr
from pathlib import Path
from urllib.parse import quote

import pytest
import structlog.testing
from google.protobuf.json_format import MessageToJson
from hypothesis import given
from hypothesis import strategies as st

from countline_common import logs
from countline_common.cli.app import report
from countline_common.errors import FieldProblem, InvalidInputError
from countline_common.grpc.errors import to_status
from countline_common.http.errors import problem
from countline_common.redaction import redact, redact_address
from countline_control.cameras.domain import Camera, for_readers
from countline_control.cameras.messages import camera_message
from countline_pipelines.sources import Playback, SourceSpec, SourceWarnings, WarningCode, source_address
from countline_pipelines.sources.errors import SourceError, SourceFailure, refused

SECRET = "S3CRET"
SIGNS = (
    *"abz09/:@\"'?#&=._-+~!$*(),;[]{}|^`\\<>%é",
    "://",
    ",rtsp://",
    ";http://x@",
    "=file:///",
    "%3a//",
    "%40",
    "%2540",
)
"""What people write around and in a password unescaped; parts of addresses among it."""
NOISE = st.lists(st.sampled_from(SIGNS), max_size=6).map("".join)
QUERY_NOISE = NOISE.filter(lambda text: "&" not in text)
"""As above, without the sign that ends a value."""
KEYS = (
    "pass", "loginpas", "pwd", "userpwd", "password", "passwd", "key", "api_key", "apiKey", "auth", "token",
    "access_token", "sig", "X-Amz-Signature", "secret", "PASS", "p%61ss", "session", "credentials", "pwd2", "psk",
    "wmsAuthSign", "pass[]", "p%2561ss", "pass_word", "Pass-Word", "passw0rd", "authbasic", "digest", "accessCode",
    "kennwort",
)  # fmt: skip
SCHEMES = ("rtsp", "rtsps", "http", "https", "RTSP", "nats", "postgresql")


@st.composite
def planted(draw: st.DrawFn) -> str:
    """An address with the secret at one of the places where cameras take it."""
    scheme = draw(st.sampled_from(SCHEMES))
    places = ("password", "user", "query", "later", "path", "fragment", "nested", "escaped", "mistyped", "whole")
    places += ("listed", "hostless", "ampersand", "at_escaped")
    place = draw(st.sampled_from(places))
    if place in ("password", "user"):
        around = f"{draw(NOISE)}{SECRET}{draw(NOISE)}"
        user = "admin:" if place == "password" else ""
        around = around if user else around.replace(":", "")  # with a colon it is a user and a password
        host = draw(st.sampled_from(("10.0.0.7:554", "cam", "[2001:db8::7]:554", "b@cam")))
        return f"{scheme}://{user}{around}@{host}/live?x=1"
    value = f"{draw(QUERY_NOISE)}{SECRET}{draw(QUERY_NOISE)}"
    key = draw(st.sampled_from(KEYS))
    mistyped = draw(st.sampled_from(("", f"{scheme}:/", f"{scheme}:", f"/folder/{scheme}:/", f"{scheme}//")))
    return {
        "mistyped": f"{mistyped}admin:{value}@10.0.0.7/live",
        "listed": f"{scheme}://joe:x@cam,rtsp://admin:{value}@10.0.0.7/live",
        "hostless": f"{scheme}://admin:{SECRET}",
        "ampersand": f"{scheme}://10.0.0.7/live?{key}=a&{SECRET}&x=1",
        "at_escaped": f"{scheme}://admin:{value}%40cam/live",
        "whole": quote(f"{scheme}://admin:{value}@10.0.0.7/live", safe=""),
        "fragment": f"{scheme}://10.0.0.7/live#{key}={value}",
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


@given(planted())
def test_no_planted_secret_reaches_an_error(address: str) -> None:
    """Whatever raised it: on a terminal, over gRPC, over REST."""
    for text in (f"{address}: no such file", str(Path(address)), f"unexpected argument ({address})"):
        error = InvalidInputError(text, fields=(FieldProblem("stream_url", text),))
        received = to_status(error).SerializeToString() + json.dumps(problem(error, "1")).encode()
        shown = io.StringIO()
        with redirect_stderr(shown):
            report(error)
        assert SECRET not in f"{error} {error.message} {error.fields} {error!r} {shown.getvalue()}"
        assert SECRET.encode() not in received


@given(planted())
def test_no_planted_secret_reaches_what_a_source_reports(address: str) -> None:
    try:
        spec = SourceSpec(source_address(address), Playback.LIVE)
    except InvalidInputError as error:
        shown = f"{error} {error.hint}"
    else:
        shown = what_a_source_reports(spec)
    assert SECRET not in shown


def what_a_source_reports(spec: SourceSpec) -> str:
    warnings = SourceWarnings()
    warnings.put(WarningCode.NO_KEY_FRAME, f"{spec.url} sends no key frame", "")
    refusals = [refused(spec.label, ValueError(spec.url), waited_s=0.0, limit_s=1.0)]
    refusals.append(SourceError(SourceFailure.NOT_FOUND, spec.url, f"cannot open {spec.url}"))
    return f"{spec.label} {refusals} {[str(each) for each in refusals]} {warnings.all()}"


@given(planted())
def test_no_planted_secret_reaches_readers_of_cameras_and_events(address: str) -> None:
    camera = for_readers(Camera("door", stream_url=address))
    message = camera_message(camera)
    shown = [MessageToJson(message, ensure_ascii=False), str(message), repr(camera)]
    assert all(SECRET not in text for text in shown)


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


@pytest.mark.parametrize(
    "text",
    [
        "cannot open rtsp://admin:;S3CRET://@10.0.0.7:554/live: no such file",
        "rtsp://admin:S3CRET,rtsp://x@host/live",
        "rtsp://admin:p@S3CRET,rtsp://x@host/live",
        "nats://a:S3CRET,nats://x@host",
        "password=S3CRET_rtsp://cam",
        "password=S3CRET,rtsp://a:b",
        "admin:S3CRET://x@10.0.0.7",
        "rtsp//S3CRET@host",
        "rtsp:\\\\admin:S3CRET@host",
        "rtsp://admin:pa S3CRET@host/live: refused",
        "rtsp://admin:S3CRET/10.0.0.7/live",
        "rtsp://[fe80::1]:S3CRET",
        "/folder/rtsp:/admin:S3CRET",
        "file:///x,rtsp://a:S3CRET@h",
        "http://h/?p%2561ss=a%26S3CRET",
    ],
)  # fmt: skip
def test_a_password_that_looks_like_a_part_of_an_address_is_masked(text: str) -> None:
    assert "S3CRET" not in redact(text)
    assert "S3CRET" not in redact(redact(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nats://a:b@c,nats://d:e@f", "nats://a:***@c,nats://d:***@f"),
        ("http://[::1]:8080: refused", "http://[::1]:8080: refused"),
        ("[http://[::1]:8080]", "[http://[::1]:8080]"),
        ("rtsp://cam: refused", "rtsp://cam: refused"),
        ("http://h/?pass=a&b&x=1", "http://h/?pass=***&x=1"),
        ("nats://127.0.0.1:4222 and joe@example.org", "nats://127.0.0.1:4222 and joe@example.org"),
    ],
)
def test_the_rest_of_an_address_stays_readable(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://cam/snap.cgi?u=admin&p=S3CRET&x=1", "http://cam/snap.cgi?u=admin&p=***&x=1"),
        ("http://cam/list?p=2&x=1", "http://cam/list?p=2&x=1"),
        ("http://cam/live?login=admin:S3CRET&x=1", "http://cam/live?login=admin:***&x=1"),
        ("http://cam/live?user=admin&at=10:30", "http://cam/live?user=admin&at=10:30"),
        ("srt://cam:9000?streamid=read:door:joe:S3CRET", "srt://cam:9000?streamid=read:***"),
        ("Authorization: Basic S3CRET==", "Authorization: ***"),
        ("{'Authorization': 'Bearer S3CRET.x', 'x': 1}", "{'Authorization': '***', 'x': 1}"),
        ('authorization: Digest username="a", response="S3CRET"', "authorization: ***"),
        ("authorization: permission denied", "authorization: permission denied"),
        ('{"name": "door", "password": "a\\"S3CRET", "x": "1"}', '{"name": "door", "password": "***", "x": "1"}'),
        ('{\\"token\\":\\"S3CRET\\",\\"x\\":1}', '{\\"token\\":\\"***\\",\\"x\\":1}'),
    ],
)
def test_secrets_in_the_ways_of_cameras_and_libraries_are_masked(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


ROW = f'new row for relation "users" violates a check\nDETAIL:  Failing row contains (7, x\ny, {SECRET}).'


@pytest.mark.parametrize(
    "text",
    [
        ROW,
        repr(ValueError(ROW)),
        f"CheckViolation: {ROW}\n\nThe above exception was the direct cause of the following exception:\n\nTraceback",
        f"  | CheckViolation: {ROW}\n  | [SQL: INSERT INTO users]",
        f'invalid input syntax for type integer\nCONTEXT:  COPY crossings, line 1, column id: "{SECRET}"',
        f"parameters: 'password_hash': '$argon2id$v=19$m=65536,t=3,p=4${SECRET}+/a$b{SECRET}/+x'}}",
    ],
)
def test_no_row_of_a_database_and_no_hash_of_a_password_is_shown(text: str) -> None:
    shown = redact(text)
    assert SECRET not in shown
    assert text[:20] in shown
    for rest in ("The above exception", "[SQL: INSERT INTO users]"):
        assert (rest in shown) == (rest in text)


def test_a_logger_in_use_follows_when_the_log_is_set_up_anew() -> None:
    before = logging.getLogger().handlers[:]
    log = logs.get_logger("follows")
    try:
        for process in ("first", "second"):
            logs.configure(process, io.StringIO())
            with structlog.testing.capture_logs() as captured:
                log.info("used", process=process)
            assert [each["process"] for each in captured] == [process]
    finally:
        logging.getLogger().handlers[:] = before
