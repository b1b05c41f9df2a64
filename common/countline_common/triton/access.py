"""The secret of a machine's Triton.

Triton's own API loads models of any code, opens shared memory, and writes trace and log files. A Triton of ours
restricts these calls (`--http-restricted-api`, `--grpc-restricted-protocol`) to clients that send the secret. The
secret lies in the data folder, in a file of mode 0600.
"""

import os
from pathlib import Path
from typing import Final

from countline_common.errors import InvalidInputError, PermissionDeniedError
from countline_common.files.text_files import read_text
from countline_common.hosts import host_of, is_this_machine
from countline_common.settings import DataFolder

SECRET_VARIABLE: Final = "COUNTLINE_TRITON_SECRET_FILE"  # noqa: S105  (a name)
"""Environment variable with the path of the secret's file; without it the file is in the data folder."""
CREDENTIAL: Final = "triton-secret"
HEADER: Final = "countline-secret"
"""Name of the HTTP header that carries the secret."""
GRPC_HEADER: Final = f"triton-grpc-protocol-{HEADER}"
"""Name of the gRPC metadata that carries the secret: Triton puts its prefix before the name of the option."""


def secret_file() -> Path:
    """The file of the secret; it may not exist."""
    named = os.environ.get(SECRET_VARIABLE)
    return Path(named) if named else DataFolder.resolve().credential(CREDENTIAL)


def secret_headers() -> dict[str, str]:
    """The gRPC metadata that a client sends; empty if this machine has no secret (a Triton that is not ours).

    Raises:
        PermissionDeniedError: this user may not read the secret.
        InvalidInputError: the file holds something else than a secret.
    """
    path = secret_file()
    try:
        if not path.is_file():
            return {}
        path.open("rb").close()
    except PermissionError as error:
        raise PermissionDeniedError(
            f"cannot read Triton's secret {path}", hint=f"run this as its owner, or set {SECRET_VARIABLE}"
        ) from error
    secret = read_text(path).strip()
    if not (secret.isascii() and secret.isprintable()):
        raise InvalidInputError(
            f"{path} holds no secret of a Triton: a secret is one line of ASCII letters and signs",
            hint=f"name the file credentials/{CREDENTIAL} of a data folder in {SECRET_VARIABLE}",
        )
    return {GRPC_HEADER: secret} if secret else {}


def headers_for(address: str) -> dict[str, str]:
    """The gRPC metadata for the Triton at HOST:PORT.

    The data folder's secret is for this machine alone. Another machine's Triton gets the secret whose file
    `COUNTLINE_TRITON_SECRET_FILE` names.

    Raises:
        PermissionDeniedError: this user may not read the secret.
    """
    return secret_headers() if SECRET_VARIABLE in os.environ or is_this_machine(host_of(address)) else {}
