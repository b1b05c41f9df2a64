"""Builds the services at the address of auth: users, keys, the audit and the administration."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from nats.js import JetStreamContext

from countline_common.administration.current import CurrentSettings
from countline_common.data.administration_feed import FAILURES, reported_bases
from countline_common.errors import CountlineError, InvalidInputError
from countline_common.files.text_files import read_text
from countline_common.grpc.key_exchange import KeyExchange
from countline_common.grpc.server import Service
from countline_common.grpc.tokens import TokenSigner, TokenVerifier
from countline_common.logs import get_logger
from countline_common.secrets.secret_files import CHANGED, mark_changed
from countline_control.administration.publisher import StatePublisher
from countline_control.administration.service import AdministrationService
from countline_control.audit.intake import AuditIntake
from countline_control.audit.service import AuditService
from countline_control.audit.setup import AUDIT_KEY, audit_signer, check_retention, warn_if_unprotected
from countline_control.audit.upkeep import AuditUpkeep
from countline_control.auth.access.store import roles_by_name
from countline_control.auth.oidc.flow import LoginFlow
from countline_control.auth.oidc.groups import unknown_roles
from countline_control.auth.oidc.people import OidcLogins
from countline_control.auth.oidc.provider import IdentityProvider
from countline_control.auth.service import FIRST_USER, AuthService
from countline_control.auth.tables import data_keys
from countline_control.data_keys import DataKeys
from countline_control.database import Database
from countline_control.operations.log_service import LogService
from countline_control.operations.part_service import PartService
from countline_control.serve.bus import BackgroundBus
from countline_control.serve.host import ServiceHost
from countline_control.serve.identity_provider import oidc_config, wrong_mapping
from countline_control.settings import ControlSettings, missing

RETENTION: Final = "retention.audit_days"
OIDC_KEY: Final = "countline oidc logins"
"""Purpose of the key from which logins through a provider are derived."""

_log = get_logger(__name__)


class IdentityServices:
    """The services at the address of auth.

    Args:
        settings: see `ControlSettings`.
        database: holds the schemas `auth` and `audit`.
        host: runs the background tasks.
        bus: the connection to NATS; None for a process without.
        current: settings that may change while the process runs.

    Raises:
        InvalidInputError: the private key of tokens is missing.
    """

    def __init__(
        self,
        settings: ControlSettings,
        database: Database,
        host: ServiceHost,
        bus: BackgroundBus | None,
        current: CurrentSettings,
    ) -> None:
        if settings.token_private_key_file is None:
            raise missing("COUNTLINE_TOKEN_PRIVATE_KEY_FILE", "/path/to/token-key.pem")
        self._token_key_file = settings.token_private_key_file
        self._signer = TokenSigner.from_file(self._token_key_file)
        self._settings = settings
        self._database = database
        self._host = host
        self._bus = bus
        self._current = current
        keys = DataKeys(database, data_keys, settings.master_key_source)
        self.auth = AuthService(database, self._signer, trusted_proxies=settings.proxy_networks(), data_keys=keys)

    async def start(self, verifier: TokenVerifier) -> tuple[Service, ...]:
        """Prepare the database and start the background tasks; return the services to serve.

        Args:
            verifier: of this process; it learns to exchange API keys.

        Raises:
            InvalidInputError: a setting or a file that it names cannot be used.
        """
        self.auth.current = self._current
        await self.auth.data_keys.open(forget_lost=self._settings.forget_lost_secrets)
        await self.auth.prepare()
        await self._set_up_logins()
        await _ensure_admin(self.auth, self._settings)
        self.auth.password_changed = partial(_forget_first_password, self._settings.admin_password_file)
        verifier.keys = KeyExchange(self.auth.exchange_key, verifier)
        audit = await self._audit()
        operations = (LogService(self._jetstream).as_service(), PartService(self._jetstream).as_service())
        return (*self.auth.as_services(), audit.as_service(), self._administration().as_service(), *operations)

    async def _set_up_logins(self) -> None:
        """Set who can log in with a password, and the identity provider. It need not answer now."""
        config = oidc_config(self._settings)
        self.auth.passwords_for = self._settings.password_logins
        if config is None:
            return
        known = await self._database.read(roles_by_name)
        if problems := unknown_roles(config.rules, known):
            raise wrong_mapping(self._settings.oidc_groups_file, problems)
        provider = IdentityProvider(config, self._settings.calls_oidc)
        self.auth.oidc = OidcLogins(provider, LoginFlow(self._signer.derive(OIDC_KEY)))

    def _administration(self) -> AdministrationService:
        publisher = StatePublisher(self._database, self._jetstream, self._current)
        self._host.spawn("publisher of administration", publisher.run(), publisher.stop)
        service = AdministrationService(self._database, self._signer, self._setting_bases, publisher.changed.set)
        service.current = self._current
        return service

    async def _audit(self) -> AuditService:
        """Start to receive the rows of all services; return the service that shows them."""
        signer = audit_signer(self._settings.audit_key_file or self._token_key_file.with_name(AUDIT_KEY))
        check_retention(self._settings.audit_retention_days)
        await warn_if_unprotected(self._database)
        if self._bus is not None:
            intake = AuditIntake(self._database, signer, self._jetstream)
            self._host.spawn("audit", intake.run(), intake.stop)
        kept_days = partial(self._current.number, RETENTION)
        upkeep = AuditUpkeep(self._database, signer, self._jetstream, kept_days)
        self._current.listen(RETENTION, lambda _: upkeep.retention_changed())
        self._host.spawn("upkeep of the audit", upkeep.run(), upkeep.stop)
        return AuditService(self._database, signer.public, self._jetstream)

    def _jetstream(self) -> JetStreamContext | None:
        return self._bus.jetstream if self._bus is not None else None

    async def _setting_bases(self) -> Mapping[str, str]:
        """Return the values that the environments of all parts set, as far as they are known now."""
        if (jetstream := self._jetstream()) is None:
            return self._current.base
        try:
            return {**await reported_bases(jetstream), **self._current.base}
        except FAILURES:
            return self._current.base


def _forget_first_password(path: Path | None, username: str) -> None:
    """Mark the file of the first password once it is no longer the password of its user."""
    if path is not None and username == FIRST_USER:
        mark_changed(path)


async def _ensure_admin(service: AuthService, settings: ControlSettings) -> None:
    """Create the first user if a password file is given."""
    path = settings.admin_password_file
    if path is None:
        if not await service.has_users():
            _log.warning("serve.no_user", hint="set COUNTLINE_ADMIN_PASSWORD_FILE for the first start")
        return
    try:
        password = read_text(path).strip()
    except CountlineError as error:
        raise InvalidInputError(
            f"the admin's password cannot be read: {error.message}", hint="correct COUNTLINE_ADMIN_PASSWORD_FILE"
        ) from error
    if password == CHANGED:
        if not await service.has_users():
            raise InvalidInputError(
                f"{path} holds no password, and there is no user yet", hint="write a password into the file"
            )
        return
    if await service.create_first_admin(password):
        _log.info("serve.admin_created", username="admin")
