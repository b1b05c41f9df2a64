"""Reads the API key of a context from where it is kept."""

from pathlib import Path

from countline_common.access.api_keys import read_key
from countline_common.contexts.context import Context
from countline_common.errors import CountlineError, InvalidInputError
from countline_common.files.text_files import read_text
from countline_common.secrets.secret_commands import output_of

OTHERS = 0o077


def api_key_of(name: str, context: Context) -> str:
    """Return the API key of a context; empty if it has none. Blocks while the file is read or the command runs.

    Raises:
        InvalidInputError: there is no usable key, or others can read its file. The message quotes no key.
    """
    if context.api_key_command:
        what, hint = f"the command for the API key of context {name!r}", "correct it: countline context add --replace"
        key = output_of(context.api_key_command, what, hint).strip()
    elif context.api_key_file:
        key = _read(Path(context.api_key_file))
    else:
        return ""
    try:
        read_key(key)
    except CountlineError as error:
        raise InvalidInputError(
            f"context {name!r}, API key from {context.key_source}: {error.message}", hint=error.hint
        ) from error
    return key


def _read(path: Path) -> str:
    """The text of a key file.

    Raises:
        InvalidInputError: it cannot be read, or others can read it.
    """
    try:
        text = read_text(path).strip()
        mode = path.stat().st_mode
    except CountlineError as error:
        raise InvalidInputError(f"the API key cannot be read: {error.message}", hint=error.hint) from error
    if mode & OTHERS:
        raise InvalidInputError(
            f"others can read the API key in {path} (mode {mode & 0o777:04o})", hint=f"chmod 600 {path}"
        )
    return text
