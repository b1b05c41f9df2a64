"""Finds the server that a command talks to, where the user names none."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from countline_common.access.acting import ActingFor, acting_for
from countline_common.access.api_keys import VARIABLE as API_KEY_VARIABLE
from countline_common.contexts.api_keys import api_key_of
from countline_common.contexts.context import Context
from countline_common.contexts.store import ChosenContext, ContextStore, default_context, explicit_context
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
    data: DataFolder | None = None
    """The data folder of this machine; None for a named server."""
    user: str = ""
    """User name to log in with; empty where the context names none."""
    context: str = ""
    """Name of the context that chose the server; empty if there was none."""

    @property
    def login_command(self) -> str:
        """The command with which a person logs in to this server."""
        if self.context:
            return f"countline --context {self.context} login"
        return f"countline login --server {self.server}"


def discover(server: str | None = None, data: Path | None = None, profiles: Profiles | None = None) -> ServerProfile:
    """Find the server that a command talks to. docs/command-line.md lists the order.

    Raises:
        NotFoundError: no Countline runs from the data folder, or there is no such context.
        InvalidInputError: the server's name has no known form, or a context cannot be used.
    """
    profiles = profiles or Profiles()
    if data is not None:
        return _of_folder(data)
    if server:
        return _named(server, profiles)
    if chosen := explicit_context(ContextStore(profiles.folder)):
        return _of_context(chosen, profiles)
    return _by_default(profiles)


def _by_default(profiles: Profiles) -> ServerProfile:
    if named := os.environ.get(SERVER_VARIABLE, ""):
        return _named(named, profiles)
    if os.environ.get(DATA_VARIABLE):
        return _of_folder(None)
    if chosen := default_context(ContextStore(profiles.folder)):
        return _of_context(chosen, profiles)
    return _named(profiles.current, profiles) if profiles.current else _of_folder(None)


def _named(server: str, profiles: Profiles) -> ServerProfile:
    return ServerProfile(
        Endpoints.parse(server),
        profiles.login_file(server),
        server,
        tls=TlsSettings().tls,
        api_key=_api_key(),
        acting_for=acting_for.get(),
    )


def _of_folder(data: Path | None) -> ServerProfile:
    folder = DataFolder.resolve(data)
    endpoints = Endpoints.from_file(folder.run / "endpoints.json")
    return ServerProfile(
        endpoints,
        LoginFile(folder.run / "cli-login.json"),
        password_file=folder.credential("admin-password"),
        tls=Authority(folder.certificates).files(CLI) if endpoints.tls else TlsSettings().tls,
        api_key=_api_key(),
        acting_for=acting_for.get(),
        data=folder,
    )


def _of_context(chosen: ChosenContext, profiles: Profiles) -> ServerProfile:
    """The server of a context. Environment variables stand above what the context says."""
    context = chosen.context
    found = _of_folder(Path(context.data)) if context.data else _named(context.server, profiles)
    if context.user:
        found = replace(found, login_file=profiles.login_file(context.server, context.user), user=context.user)
    return replace(
        found,
        context=chosen.name,
        tls=found.tls or _tls_of(context),
        api_key=found.api_key or api_key_of(chosen.name, context),
    )


def _tls_of(context: Context) -> TlsFiles | None:
    if not context.ca_file:
        return None
    certificate = Path(context.cert_file) if context.cert_file else None
    files = TlsFiles(Path(context.ca_file), certificate, Path(context.key_file) if context.key_file else None)
    files.check()
    return files


def _api_key() -> str:
    return os.environ.get(API_KEY_VARIABLE, "").strip()
