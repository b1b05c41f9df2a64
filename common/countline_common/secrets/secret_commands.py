"""Commands that print a secret, such as one that asks a keyring or a vault. No shell runs them."""

import shlex
import subprocess
from typing import Final

from countline_common.errors import InvalidInputError
from countline_common.redaction import redact

TIMEOUT_S: Final = 20.0
MOST_STDERR: Final = 300


def output_of(command: str, what: str, hint: str) -> str:
    """Return the standard output of a command. Errors quote its standard error only: standard output may hold a secret.

    Args:
        command: words as a shell splits them.
        what: names the command in errors, such as `the command for the master key`.
        hint: of errors.

    Raises:
        InvalidInputError: the command cannot be run, fails, or takes too long.
    """
    try:
        words = shlex.split(command)
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        why = f"took longer than {TIMEOUT_S:g} s" if isinstance(error, subprocess.TimeoutExpired) else str(error)
        raise InvalidInputError(f"{what} failed: {why}", hint=hint) from error
    if done.returncode != 0:
        said = redact(done.stderr.strip()[-MOST_STDERR:])
        raise InvalidInputError(f"{what} failed with exit code {done.returncode}: {said}", hint=hint)
    return done.stdout
