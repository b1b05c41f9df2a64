"""The master keys of an installation: from a file, the environment or a command.

The text holds one key a line, 32 bytes in base64; `#` begins a comment. The first key wraps new data keys. Further keys
only open what they wrapped earlier, so a master key can be replaced while services run.
"""

import base64
import binascii
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from countline_common.errors import CountlineError, InvalidInputError
from countline_common.files.text_files import read_text
from countline_common.secrets.sealing import KEY_BYTES, Key, fingerprint, new_secret
from countline_common.secrets.secret_commands import output_of

MASTER_KEY: Final = "master-key"
"""Name of the file in the folder of credentials."""
SOURCE_VARIABLES: Final = ("COUNTLINE_MASTER_KEY_FILE", "COUNTLINE_MASTER_KEY", "COUNTLINE_MASTER_KEY_COMMAND")
NEW_KEY_HINT: Final = "make a key: countline secrets new-key"


def new_master_key() -> str:
    """A new key as text."""
    return base64.b64encode(new_secret()).decode()


def parse_master_keys(text: str, source: str) -> tuple[Key, ...]:
    """Read keys, the current one first.

    Args:
        text: one key a line.
        source: where the text comes from, for errors.

    Raises:
        InvalidInputError: there is no key, or a line is none. The message quotes no line.
    """
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        if encoded := line.partition("#")[0].strip():
            keys.append(_key(encoded, f"line {number} of {source}"))
    if not keys:
        raise InvalidInputError(f"{source} holds no master key", hint=NEW_KEY_HINT)
    return tuple(keys)


def _key(encoded: str, where: str) -> Key:
    try:
        secret = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise InvalidInputError(f"{where} is no master key: it must be 32 bytes in base64", hint=NEW_KEY_HINT)
    return Key(fingerprint(secret), secret)


@dataclass(frozen=True, slots=True)
class MasterKeySource:
    """Where the master keys come from; exactly one of the three is set."""

    file: Path | None = None
    text: str = field(default="", repr=False)
    command: str = ""

    def __str__(self) -> str:
        if self.file is not None:
            return f"the file {self.file}"
        return "COUNTLINE_MASTER_KEY_COMMAND" if self.command else "COUNTLINE_MASTER_KEY"

    def read(self) -> tuple[Key, ...]:
        """Return the keys, the current one first. Blocks while the file is read or the command runs.

        Raises:
            InvalidInputError: none or several sources are set, or the source holds no key.
        """
        given = [self.file is not None, bool(self.text), bool(self.command)]
        if sum(given) != 1:
            problem = "no master key is set" if not any(given) else "several sources of the master key are set"
            hint = "set one of COUNTLINE_MASTER_KEY_FILE, COUNTLINE_MASTER_KEY and COUNTLINE_MASTER_KEY_COMMAND"
            raise InvalidInputError(problem, hint=f"{hint}; {NEW_KEY_HINT}")
        return parse_master_keys(self._content(), str(self))

    def _content(self) -> str:
        if self.file is None:
            return self.text or _output(self.command)
        try:
            return read_text(self.file)
        except CountlineError as error:
            raise InvalidInputError(
                f"the master key cannot be read: {error.message}", hint="correct COUNTLINE_MASTER_KEY_FILE"
            ) from error


def _output(command: str) -> str:
    hint = "correct COUNTLINE_MASTER_KEY_COMMAND: it must print the key"
    return output_of(command, "the command for the master key", hint)
