"""Masks the secrets of addresses: in an address, and in any text that may contain addresses.

Cameras take passwords in many places, and people write them unescaped. So the rules mask too much rather than too
little: everything between `://` and the last `@`, and the value of every key that ends like the name of a secret, up
to the next `&`. An address whose scheme is missing, mistyped or percent-encoded is an address too. Every function takes
time in proportion to the length of its text: anyone can send a long text.
"""

import re
from itertools import pairwise
from typing import Final
from urllib.parse import unquote

MASK: Final = "***"
SECRET_KEYS: Final = (
    "pass", "pas", "pwd", "pw", "psw", "passwd", "password", "passwort", "passphrase", "passcode", "pin", "key",
    "auth", "authorization", "token", "jwt", "sig", "signature", "secret", "credential", "credentials", "session",
    "sessionid", "sid", "ticket", "hash", "md5", "bearer",
)  # fmt: skip
"""Endings of the names of secrets: `loginpas`, `X-Amz-Signature`, `admin_password`."""
_PLAIN_USER_LENGTH: Final = 64
_WORDS: Final = re.compile(r"(\s+)")
_SIGNS_OF_ADDRESS: Final = ("=", "@", "%")
"""One of them is in every address with a secret."""
_API_KEY: Final = re.compile(r"(cl_[0-9A-Za-z]{12}_)[0-9A-Za-z]+")
_ESCAPED_SCHEME: Final = ("%3a%2f%2f", "%253a%252f%252f")
_BEHIND_ADDRESS: Final = ":;,.)]}>\"'"
"""Signs of the sentence around an address that is masked already."""
_BEFORE_SCHEME: Final = frozenset(",;='\"(<[{|")
_SCHEMES: Final = frozenset(
    (
        "rtsp",
        "rtsps",
        "rtmp",
        "rtmps",
        "http",
        "https",
        "ws",
        "wss",
        "srt",
        "udp",
        "tcp",
        "tls",
        "ftp",
        "file",
        "s3",
        "nats",
        "postgresql",
        "postgres",
        "redis",
        "rediss",
    )
)
"""Schemes with which another address may follow. Another word before `://` may be a part of the password."""


def redact(text: str) -> str:
    """A text with the secrets of every address and API key in it replaced by `***`.

    >>> redact("cannot open rtsp://joe:p@ss@10.0.0.7/live?token=abc")
    'cannot open rtsp://joe:***@10.0.0.7/live?token=***'
    """
    if "cl_" in text:
        text = _API_KEY.sub(rf"\1{MASK}", text)
    if not any(sign in text for sign in _SIGNS_OF_ADDRESS):
        return text
    return "".join(_redact_word(word) for word in _WORDS.split(text))


def redact_address(address: str) -> str:
    """One address with its secrets replaced by `***`; it may contain blanks.

    >>> redact_address("rtsp://admin:pa/ss@cam/live")
    'rtsp://admin:***@cam/live'
    >>> redact_address("http://cam/user=admin_password=x_channel=1.sdp")
    'http://cam/user=admin_password=***'
    """
    if any(sign in address.lower() for sign in _ESCAPED_SCHEME) and "://" not in address:
        return redact_address(unquote(unquote(address)))
    scheme, found, rest = address.partition("://")
    if not found:
        return _redact_plain(_redact_pairs(address))
    if scheme.lower() == "file" and rest.startswith("/"):  # a file has no user, and folders may have an `@`
        return f"{scheme}://{_redact_pairs(rest)}"
    user_info, at, place = rest.rpartition("@")
    last_pair = user_info.rpartition("&")[2]
    if at and _redact_pair(last_pair) != last_pair:  # the last `@` may be part of a secret value
        place = MASK + "".join(place.partition("&")[1:])
    return f"{scheme}://{_redact_user_info(user_info)}{at}{_redact_pairs(place)}"


def _redact_plain(address: str) -> str:
    """Redact `user:password@host` behind a scheme that is missing or mistyped, such as `rtsp:/user:password@host`."""
    user_info, at, host = address.rpartition("@")
    user, colon, _ = user_info.partition(":")
    return f"{user}:{MASK}@{host}" if at and colon else address


def _redact_word(word: str) -> str:
    """Redact a text without blanks, in which addresses follow one another, such as `nats://a:b@c,nats://d:e@f`."""
    if not any(sign in word for sign in _SIGNS_OF_ADDRESS):
        return word
    starts = [0, *_address_starts(word), len(word)]
    return "".join(redact_address(word[start:end]) for start, end in pairwise(starts))


def _address_starts(word: str) -> list[int]:
    """Where a scheme begins behind a sign that separates addresses."""
    starts: list[int] = []
    first = at = word.find("://")
    while at >= 0:
        start = at
        while start > 0 and at - start < _PLAIN_USER_LENGTH and (word[start - 1].isalnum() or word[start - 1] in "+.-"):
            start -= 1
        follows = at == first or word[start:at].lower() in _SCHEMES
        if start > 0 and start < at and word[start - 1] in _BEFORE_SCHEME and follows:
            starts.append(start)
        at = word.find("://", at + 3)
    return starts


def _redact_user_info(user_info: str) -> str:
    user, _, password = user_info.partition(":")
    if not user_info:
        return ""
    # A user without a password is a token. A user with a slash is no user: the `@` belongs to something else.
    is_plain = user and password and len(user) <= _PLAIN_USER_LENGTH and not any(sign in user for sign in "/?#=&")
    return f"{user}:{MASK}" if is_plain else MASK


def _redact_pairs(text: str) -> str:
    return "&".join(_redact_pair(pair) for pair in text.split("&")) if "=" in text else text


def _redact_pair(pair: str) -> str:
    """Redact from the first key that names a secret on: its value may contain any sign."""
    start = 0
    while (equals := pair.find("=", start)) >= 0:
        if _names_secret(pair[start:equals]) or _hides_address(pair[equals + 1 :], first=start == 0):
            value = pair[equals + 1 :]
            return pair if value.rstrip(_BEHIND_ADDRESS) == MASK else f"{pair[: equals + 1]}{MASK}"
        start = equals + 1
    return pair


def _names_secret(key: str) -> bool:
    return unquote(key[-200:]).rstrip("]").lower().endswith(SECRET_KEYS)


def _hides_address(value: str, *, first: bool) -> bool:
    """Whether a value is an address with credentials, escaped into the query of another address."""
    if not first or "%" not in value:
        return False
    plain = unquote(value)
    return "://" in plain and "@" in plain
