"""Masks the secrets of addresses: in an address, and in any text that may contain addresses.

`redact` also masks API keys, hashes of passwords, and what PostgreSQL adds to an error about the row that it refused.

Cameras take passwords in many places, and people write them unescaped. So these rules do not parse an address: where
a text can be read in two ways, they mask both.

1. All between the first `://` and the last `@` is secret, except a plain user name before the first colon.
2. Without `://`, all between the first colon and the last `@` is secret.
3. Without `@`, all behind the colon of the host is secret, unless it is a port.
4. The value of every key that ends like the name of a secret is secret, up to the next `&KEY=`. So is the `p=` that
   follows a `u=`, and what follows the colon in `login=user:password`.
5. A text with escapes is masked again after they are undone.

Two rules mask what libraries print beside addresses: headers with credentials, and quoted values such as
`"password": "…"`.

One text is one address, except a list of NATS servers. Every function takes time in proportion to the length of its
text: anyone can send a long text.
"""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

MASK: Final = "***"
SECRET_KEYS: Final = (
    "pass", "pas", "pwd", "pw", "psw", "passwd", "psswd", "password", "passwort", "passphrase", "passcode", "pword",
    "pin", "otp", "key", "psk", "auth", "authorization", "authbasic", "token", "jwt", "sig", "sign", "signature",
    "hmac", "secret", "cred", "creds", "credential", "credentials", "session", "sessionid", "sid", "ticket", "hash",
    "md5", "digest", "bearer", "accesscode", "kennwort", "contrasena", "clave", "senha", "mdp",
)  # fmt: skip
"""Endings of the names of secrets: `loginpas`, `X-Amz-Signature`, `admin_password`, `pass_word`, `passw0rd`, `pwd2`."""
_USER_KEYS: Final = ("user", "usr", "username", "login", "account", "streamid")
"""Endings of the names of users. Some cameras and servers take `user:password` as their value."""
_SHORT_USER: Final = re.compile(r"(?:^|[?&;/])u=")
"""Some cameras take `u=USER&p=PASSWORD`. A `p=` alone may be a page."""
_USER_IN_VALUE: Final = re.compile(r"[^:/&;?#=@]{0,64}:(?!//)(?=.)")
_VARIANTS: Final = str.maketrans("01345$", "oieass", "_-.")
_HEADER: Final = re.compile(
    r"(authorization\\?[\"']?[ \t]{0,8}[:=,][ \t]{0,8}(?:[bB]?\\?[\"'])?)"
    r"(?:(?:Basic|Bearer|Negotiate|Token)[ \t]{1,8}[^\s\"'\\]+|Digest[ \t]{1,8}[^\r\n]+)",
    re.IGNORECASE,
)
_QUOTED_PAIR: Final = re.compile(
    r"""(?P<before>(\\?["'])(?P<key>[^"'\\\s]{1,64})\2\s{0,8}:\s{0,8}[bB]?(?P<quote>\\?["']))"""
    r"""(?:(?!(?P=quote))(?:\\.|[^\\]))+""",
    re.DOTALL,
)
_SIGNS_OF_ADDRESS: Final = ("=", "@", "%", "/", "\\")
"""One of them is in every address with a secret."""
_WORDS: Final = re.compile(r"(\s+)")
_API_KEY: Final = re.compile(r"(cl_[0-9A-Za-z]{12}_)[0-9A-Za-z]+")
_PASSWORD_HASH: Final = re.compile(r"\$argon2[A-Za-z0-9$=,+/.-]*")
_REFUSED_ROW: Final = re.compile(
    r"(DETAIL|CONTEXT):  "
    r"(?:(?!(?:\n|\\n)[ |]{0,40}(?:HINT:  |\[SQL: |\(Background |Traceback|The above exc|During hand|File \"))[\s\S])*"
)
"""Of an error of PostgreSQL: `DETAIL` and `CONTEXT` may quote the whole row. The text ends where SQLAlchemy's text or a
traceback goes on; a value may contain any other line."""
_PLAIN_USER: Final = re.compile(r"[^/?#=&%@:]{1,64}")
_SCHEME_LENGTH: Final = 64
_MISTYPED_SCHEME: Final = re.compile(r"(?:rtsps?|rtmps?|https?|nats|postgres(?:ql)?|rediss?)[:;]?[/\\]+", re.IGNORECASE)
_IPV6: Final = re.compile(r"\[[0-9A-Fa-f:.%]*\]")
_HOST: Final = re.compile(rf"(?:{_IPV6.pattern}|[^:\[]*)(?::[0-9]{{0,5}})?]*")
_BEHIND_ADDRESS: Final = ":;,.)]}>\"'"
"""Signs of the sentence around an address."""
_NEXT_PAIR: Final = re.compile(r"&(?=[^&=]*=)")
_ESCAPED_ESCAPE: Final = re.compile(r"%(?:25)+")
_NEXT_SERVER: Final = re.compile(r",(?=nats://)")
_SERVER: Final = re.compile(r"nats://[^@]+@[A-Za-z0-9_.-]+(?::[0-9]+)?")


def redact(text: str) -> str:
    """A text in which `***` replaces the secrets of addresses, API keys, hashes of passwords, and rows of a database.

    >>> redact("cannot open rtsp://joe:p@ss@10.0.0.7/live?token=abc")
    'cannot open rtsp://joe:***@10.0.0.7/live?token=***'
    """
    if "cl_" in text:
        text = _API_KEY.sub(rf"\1{MASK}", text)
    if ":  " in text:
        text = _REFUSED_ROW.sub(rf"\1:  {MASK}", text)
    if "$argon2" in text:
        text = _PASSWORD_HASH.sub(rf"$argon2{MASK}", text)
    text = _redact_quoted(text)
    if not any(sign in text for sign in _SIGNS_OF_ADDRESS):
        return text
    return "".join(redact_address(address) for address in _addresses(_WORDS.split(text)))


def _redact_quoted(text: str) -> str:
    """Mask what no address has: headers with credentials, and quoted values behind the name of a secret."""
    if "uthorization" in text or "UTHORIZATION" in text:
        text = _HEADER.sub(rf"\1{MASK}", text)
    if '":' in text or "':" in text or '" :' in text:
        text = _QUOTED_PAIR.sub(_redact_quoted_pair, text)
    return text


def _redact_quoted_pair(pair: re.Match[str]) -> str:
    return f"{pair['before']}{MASK}" if _names_secret(pair["key"]) else pair[0]


def redact_address(address: str) -> str:
    """One address with its secrets replaced by `***`; it may contain blanks.

    >>> redact_address("rtsp://admin:pa/ss@cam/live")
    'rtsp://admin:***@cam/live'
    >>> redact_address("http://cam/user=admin_password=x_channel=1.sdp")
    'http://cam/user=admin_password=***'
    """
    shown = ",".join(_mask(server) for server in _servers(address))
    if "%" in shown:
        plain = unquote(unquote(_ESCAPED_ESCAPE.sub("%", shown)))
        masked = _mask(plain)
        return shown if masked == plain else masked
    return shown


def _addresses(words: list[str]) -> Iterator[str]:
    """Join the words of an address whose password contains blanks; return the other words as they are."""
    start = 0
    while start < len(words):
        end = start + 1
        if "@" not in words[start] and _open_password(words[start]):
            while end < len(words) and "://" not in words[end]:
                end += 1
            while end > start + 1 and "@" not in words[end - 1]:
                end -= 1
        yield "".join(words[start:end])
        start = end


def _servers(address: str) -> list[str]:
    """Split a list of NATS servers, `nats://a:b@c,nats://d:e@f`; another address stays whole."""
    servers = _NEXT_SERVER.split(address)
    return servers if all(_SERVER.fullmatch(server) for server in servers[:-1]) else [address]


def _mask(address: str) -> str:
    end = address.rfind("@")
    if end < 0:
        password = _open_password(address)
        return f"{_redact_pairs(address[:password])}{MASK}" if password else _redact_pairs(address)
    user_info, place = address[:end], address[end:]
    shown = _shown_length(user_info)
    value = _secret_value(user_info)
    if value is None:
        hidden = MASK if shown < end else ""
        return f"{user_info[:shown]}{hidden}{_redact_pairs(place)}"
    next_pair = _NEXT_PAIR.search(place)  # the last `@` may be a part of the value
    rest = _redact_pairs(place[next_pair.start() :]) if next_pair else ""
    return f"{user_info[: min(shown, value)]}{MASK}{rest}"


def _shown_length(user_info: str) -> int:
    """How many characters of a text before the last `@` are no secret."""
    at = user_info.find("://")
    if at < 0:
        return _shown_length_without_scheme(user_info)
    start = _scheme_start(user_info, at)
    if before := _first(user_info[:start], ":@"):  # `admin:a://b@host` has a password and no scheme
        return before
    if _is_file(user_info, at):
        return len(user_info)
    user, _, password = user_info[at + 3 :].partition(":")
    # A user without a password is a token. A user with a slash is no user: the `@` belongs to something else.
    return at + 3 + (len(user) + 1 if password and _PLAIN_USER.fullmatch(user) else 0)


def _shown_length_without_scheme(user_info: str) -> int:
    """As `_shown_length`, for `user:password` behind a scheme that is missing or mistyped, such as `rtsp:/`."""
    mistyped = _MISTYPED_SCHEME.search(user_info)
    if ":" not in user_info:
        return mistyped.end() if mistyped else len(user_info)
    return _first(user_info, ":@")


def _first(text: str, signs: str) -> int:
    """Return the index behind the first of these signs; 0 if there is none."""
    return 1 + min((at for at in map(text.find, signs) if at >= 0), default=-1)


def _scheme_start(text: str, at: int) -> int:
    start = at
    while start > 0 and at - start < _SCHEME_LENGTH and (text[start - 1].isalnum() or text[start - 1] in "+.-"):
        start -= 1
    return start


def _is_file(text: str, at: int) -> bool:
    """Whether the text names a file and nothing else: a file has no user, and folders may contain an `@`."""
    return text[_scheme_start(text, at) : at + 4].lower() == "file:///" and "://" not in text[at + 3 :]


def _open_password(address: str) -> int:
    """Return where a password without a host begins, as in `rtsp://admin:secret`; 0 if there is none."""
    at = address.find("://")
    mistyped = _MISTYPED_SCHEME.search(address) if at < 0 else None
    if (at < 0 and not mistyped) or (at >= 0 and _is_file(address, at)):
        return 0
    start = mistyped.end() if mistyped else at + 3
    host = re.split(r"[/?#]", address[start:], maxsplit=1)[0]
    if _HOST.fullmatch(host.rstrip(_BEHIND_ADDRESS.replace("]", ""))):
        return 0
    ipv6 = _IPV6.match(host)
    return start + host.find(":", ipv6.end() if ipv6 else 0) + 1


def _redact_pairs(text: str) -> str:
    if "=" not in text:
        return text
    pairs = _NEXT_PAIR.split(text)
    shown = [_redact_pair(pair) for pair in pairs]
    if len(pairs) > 1 and any(map(_SHORT_USER.search, pairs)):
        shown = [f"{pair[:2]}{MASK}" if pair.startswith("p=") else pair for pair in shown]
    return "&".join(shown)


def _redact_pair(pair: str) -> str:
    """Redact from the first key that names a secret on: its value may contain any sign."""
    value = _secret_value(pair)
    return pair if value is None or pair[value:].rstrip(_BEHIND_ADDRESS) == MASK else f"{pair[:value]}{MASK}"


def _secret_value(text: str) -> int | None:
    """Return where the value of the first key that names a secret begins."""
    start = 0
    while (equals := text.find("=", start)) >= 0:
        key, value = text[start:equals], equals + 1
        if _names_secret(key):
            return value
        if _name(key).endswith(_USER_KEYS) and (password := _password_behind_user(text, value)):
            return password
        start = value
    return None


def _password_behind_user(text: str, start: int) -> int:
    """Return where the password of a value `user:password` begins; 0 if it has none."""
    user = _USER_IN_VALUE.match(text, start)
    return user.end() if user else 0


def _names_secret(key: str) -> bool:
    name = _name(key)
    plain = name.rstrip("0123456789_-[")
    return name.endswith(SECRET_KEYS) or plain.endswith(SECRET_KEYS) or _bare(plain).endswith(SECRET_KEYS)


def _name(key: str) -> str:
    return unquote(unquote(key[-200:])).lower().rstrip("[]\"'_- ")


def _bare(name: str) -> str:
    """The last letters of a name without what people write between and for them: `pass_word`, `passw0rd`."""
    return name[-40:].translate(_VARIANTS)
