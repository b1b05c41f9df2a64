"""`countline tokens`."""

from pathlib import Path
from typing import Annotated, Final

import typer

from countline_common.access.vocabulary import Permission
from countline_common.cli.tools import DataOption
from countline_common.errors import InvalidInputError
from countline_common.grpc.tokens import TokenSigner
from countline_common.settings import DataFolder
from countline_control import names

DAY_S: Final = 86_400.0

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Make tokens for workers and services on other machines."
)

KeyOption = Annotated[
    Path | None,
    typer.Option(
        envvar="COUNTLINE_TOKEN_PRIVATE_KEY_FILE", help="Private key file; by default that of the data folder."
    ),
]
DaysOption = Annotated[float, typer.Option(min=0.01, help="Days until the token expires.")]


@app.command("worker")
def worker(
    name: Annotated[str, typer.Argument(help="Name of the worker, such as worker-2.")],
    days: DaysOption = 365.0,
    key: KeyOption = None,
    data: DataOption = None,
) -> None:
    """Print a token with which a worker can report (for COUNTLINE_WORKER_TOKEN_FILE).

    Example: countline tokens worker worker-2 > worker-token
    """
    if not names.is_worker_id(name):
        raise InvalidInputError(f"{name!r} is not a worker name", hint=names.WORKER_HINT)
    _print(name, "worker", frozenset({Permission.WORKER_CONNECT, Permission.WORKER_REPORT}), days, key, data)


@app.command("service")
def service(days: DaysOption = 365.0, key: KeyOption = None, data: DataOption = None) -> None:
    """Print a token for calls between services in separate processes (for COUNTLINE_SERVICE_TOKEN_FILE).

    Example: countline tokens service > service-token
    """
    permissions = frozenset(
        {Permission.CAMERA_READ, Permission.CAMERA_SECRETS, Permission.MODEL_READ, Permission.WORKER_READ}
    )
    _print("service", "service", permissions, days, key, data)


def _print(name: str, role: str, permissions: frozenset[str], days: float, key: Path | None, data: Path | None) -> None:
    path = key or DataFolder.resolve(data).credential("token-key.pem")
    if not path.is_file():
        raise InvalidInputError(
            f"there is no token key {path}", hint="give --key FILE, or run this command where `countline up` runs"
        )
    signer = TokenSigner.from_file(path)
    print(signer.sign(name, name, roles=(role,), permissions=permissions, lifetime_s=days * DAY_S))
