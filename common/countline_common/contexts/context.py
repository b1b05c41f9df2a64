"""A context: a named server of the command line. Pure."""

import re
from contextvars import ContextVar
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

from countline_common.errors import InvalidInputError

VARIABLE: Final = "COUNTLINE_CONTEXT"
MOST_CONTEXTS: Final = 1000
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

named_context: Final[ContextVar[str]] = ContextVar("named_context", default="")
"""The context that `countline --context` names; empty for none."""


@dataclass(frozen=True, slots=True)
class Context:
    """Where a server is and how to log in to it. It holds references to secrets, never a secret.

    Paths are absolute. Exactly one of `server` and `data` is set, and at most one of the sources of an API key.
    """

    server: str = ""
    """As `--server` takes it."""
    data: str = ""
    """Data folder of a Countline on this machine, as `--data` takes it."""
    user: str = ""
    """Name with which `countline login` logs in. Users of one server have logins of their own."""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    """Certificate files of TLS, as COUNTLINE_TLS_CA_FILE, …_CERT_FILE and …_KEY_FILE name them."""
    api_key_file: str = ""
    """File of mode 0600 that holds an API key."""
    api_key_command: str = ""
    """Command that prints an API key, such as one that asks a keyring."""
    description: str = ""

    @property
    def place(self) -> str:
        """The server, or the data folder, in one word."""
        return self.server or self.data

    @property
    def key_source(self) -> str:
        """Where the API key comes from, in words; empty without a key."""
        if self.api_key_command:
            return f"command: {self.api_key_command}"
        return f"file {self.api_key_file}" if self.api_key_file else ""

    def as_dict(self) -> dict[str, str]:
        """The fields that are set."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def read(cls, content: Any, source: str) -> Self:
        """Make a context of parsed JSON.

        Args:
            content: an object of texts.
            source: names it in errors.

        Raises:
            InvalidInputError: the content is no context.
        """
        if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
            raise InvalidInputError(f"{source} is no object of texts", hint=_REPAIR)
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(content) - known):
            raise InvalidInputError(
                f"{source} has fields that this release does not know: {', '.join(unknown)}", hint=_REPAIR
            )
        context = cls(**content)
        context.check(source)
        return context

    def check(self, source: str) -> None:
        """Check that the fields fit together.

        Raises:
            InvalidInputError: they do not.
        """
        if bool(self.server) == bool(self.data):
            raise InvalidInputError(f"{source} needs a server or a data folder", hint="give --server or --data")
        if self.api_key_file and self.api_key_command:
            raise InvalidInputError(f"{source} has two sources of an API key", hint="give one of them")
        if (self.cert_file or self.key_file) and not self.ca_file:
            raise InvalidInputError(f"{source} has a certificate, but no CA", hint="give --ca-file as well")
        if self.data and (self.ca_file or self.user):
            raise InvalidInputError(
                f"{source} is a data folder, which has certificates and a password of its own",
                hint="leave out --ca-file, --cert-file, --key-file and --user",
            )


_REPAIR: Final = "correct the file, or move it away and add the contexts again: countline context add"


def check_name(name: str) -> None:
    """Check the name of a context.

    Raises:
        InvalidInputError: it cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{name!r} cannot be the name of a context",
            hint="use 1 to 63 lower-case letters, digits, '.', '_' and '-', beginning with a letter or a digit",
        )
