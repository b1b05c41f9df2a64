"""Finds the server that a command talks to, where the user names none."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from countline_common.access.acting import ActingFor, acting_for
from countline_common.access.api_keys import VARIABLE as API_KEY_VARIABLE
from countline_common.grpc.endpoints import Endpoints
from countline_common.grpc.logins import LoginFile, Profiles
from countline_common.settings import DATA_VARIABLE, DataFolder
from countline_common.tls.authority import CLI, Authority
from countline_common.tls.files import TlsFiles
from countline_common.tls.settings import TlsSettings

SERVER_VARIABLE: Final = "COUNTLINE_SERVER"


@dataclass(frozen=True, slots=True)
class ServerProfile:
    """One server: its addresses, and how to log in to it."""

    endpoints: Endpoints
    login_file: LoginFile
    server: str = ""
    """The name that the user gave; empty for a data folder of this machine."""
    password_file: Path | None = None
    """The admin's password; only for a data folder of this machine."""
    tls: TlsFiles | None = None
    """Certificate files of the client; None for a server without TLS."""
    api_key: str = field(default="", repr=False)
    """Used in place of a login, if there is one."""
    acting_for: ActingFor | None = None
    """The user for whom calls act; None if they act for the caller itself."""


def discover(server: str | None = None, data: Path | None = None, profiles: Profiles | None = None) -> ServerProfile:
    """Find the server that a command talks to.

    In this order: the named server, or COUNTLINE_SERVER; the Countline of the named data folder, or of COUNTLINE_DATA;
    the server of the last login; the Countline of this machine's default data folder.

    Raises:
        NotFoundError: no Countline runs from the data folder.
        InvalidInputError: the server's name has no known form.
    """
    profiles = profiles or Profiles()
    named = server or os.environ.get(SERVER_VARIABLE, "")
    if not named and data is None and not os.environ.get(DATA_VARIABLE):
        named = profiles.current
    if named and data is None:
        return ServerProfile(
            Endpoints.parse(named),
            profiles.login_file(named),
            named,
            tls=TlsSettings().tls,
            api_key=_api_key(),
            acting_for=acting_for.get(),
        )
    folder = DataFolder.resolve(data)
    endpoints = Endpoints.from_file(folder.run / "endpoints.json")
    return ServerProfile(
        endpoints,
        LoginFile(folder.run / "cli-login.json"),
        password_file=folder.credential("admin-password"),
        tls=Authority(folder.certificates).files(CLI) if endpoints.tls else TlsSettings().tls,
        api_key=_api_key(),
        acting_for=acting_for.get(),
    )


def _api_key() -> str:
    return os.environ.get(API_KEY_VARIABLE, "").strip()
