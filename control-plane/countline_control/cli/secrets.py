"""`countline secrets`."""

from pathlib import Path
from typing import Annotated, Final

import typer

from countline.v1.factor_pb2 import ListFactorKeysRequest, RotateFactorKeysRequest, RotateFactorKeysResponse
from countline.v1.secrets_pb2 import DataKey, ListDataKeysRequest, RotateSecretsRequest, RotateSecretsResponse
from countline_common.cli.tools import (
    DataOption,
    JsonOption,
    ServerOption,
    ask,
    note,
    print_json,
    print_table,
)
from countline_common.errors import InvalidInputError
from countline_common.files.text_files import read_text
from countline_common.grpc.client import Client
from countline_common.grpc.discovery import discover
from countline_common.http.rest_json import to_json
from countline_common.secrets.master_keys import MASTER_KEY, new_master_key
from countline_common.secrets.secret_files import write_secret
from countline_common.times import from_timestamp, to_datetime

CAMERAS: Final = "cameras"
FACTORS: Final = "second factors"

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Rotate the keys that encrypt stored secrets.")


@app.command("show")
def show(json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """List the data keys, and the master keys that wrap them. No key itself is shown.

    Example: countline secrets show
    """

    async def question(client: Client) -> list[tuple[str, DataKey]]:
        cameras = (await client.secrets.ListDataKeys(ListDataKeysRequest())).data_keys
        factors = (await client.factor.ListFactorKeys(ListFactorKeysRequest())).data_keys
        return [*((CAMERAS, key) for key in cameras), *((FACTORS, key) for key in factors)]

    found = ask(server, data, question)
    if json:
        print_json({"data_keys": [{"secrets_of": of, **to_json(key)} for of, key in found]})
        return
    rows = [
        (
            key.key_id,
            of,
            f"{to_datetime(from_timestamp(key.created_at)):%Y-%m-%d %H:%M} UTC",
            str(key.secrets),
            key.master_key_id,
            "lost" if key.lost else "ok",
        )
        for of, key in found
    ]
    print_table(("DATA KEY", "SECRETS OF", "CREATED", "SECRETS", "MASTER KEY", "STATE"), rows, "No data keys found.")


@app.command("rotate")
def rotate(
    new_key: Annotated[
        bool, typer.Option("--new-master-key", help="Replace the master key of this machine's data folder as well.")
    ] = False,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Encrypt all stored secrets with a new data key, and delete the old data keys. Cameras are counted meanwhile.

    Example: countline secrets rotate --new-master-key
    """

    async def question(client: Client) -> tuple[RotateSecretsResponse, RotateFactorKeysResponse]:
        cameras = await client.secrets.RotateSecrets(RotateSecretsRequest())
        return cameras, await client.factor.RotateFactorKeys(RotateFactorKeysRequest())

    file = _master_key_file(server, data) if new_key else None
    added = _add_key(file) if file is not None else ""
    cameras, factors = ask(server, data, question)
    if file is not None and not cameras.older_keys and not factors.older_keys:
        write_secret(file, added)  # the old master keys wrap nothing any more
    if json:
        print_json({**to_json(cameras), "second_factors": to_json(factors)})
        return
    note(f"Secrets encrypted with the new data key {cameras.key_id}: {cameras.sealed}.")
    note(f"Second factors encrypted with the new data key {factors.key_id}: {factors.sealed}.")
    if cameras.unreadable:
        note(
            f"{cameras.unreadable} secrets could not be decrypted and stay as they are. "
            "Restore their master key, or store them again: countline cameras list"
        )
    if factors.unreadable:
        note(
            f"{factors.unreadable} second factors could not be decrypted and stay as they are. "
            "Restore their master key, or let their users set them up again: countline users reset-factor"
        )


@app.command("new-key")
def new_key_() -> None:
    """Print a new master key (for COUNTLINE_MASTER_KEY_FILE).

    Example: (umask 077; countline secrets new-key > master-key)
    """
    print(new_master_key())


def _master_key_file(server: str | None, data: Path | None) -> Path:
    hint = "write a new key as the first line of your master keys, then run: countline secrets rotate"
    folder = discover(server, data).data
    if folder is None:
        raise InvalidInputError("--new-master-key changes a file of this machine's data folder only", hint=hint)
    file = folder.credential(MASTER_KEY)
    if not file.is_file():
        raise InvalidInputError(f"there is no master key {file}", hint=hint)
    return file


def _add_key(file: Path) -> str:
    """Put a new key before the others in a file, and return it. The services read the file again when they rotate."""
    key = new_master_key()
    write_secret(file, f"{key}\n{read_text(file)}")
    return key
