"""What the audit needs when its service starts: the key that signs it, and tables that its role cannot change."""

from pathlib import Path
from typing import Final

from countline_common.administration.vocabulary import SHORTEST_AUDIT_DAYS
from countline_common.errors import InvalidInputError
from countline_common.logs import get_logger
from countline_common.secrets.secret_files import ensure_secret
from countline_control.audit import store
from countline_control.audit.chain import AuditSigner, new_audit_key
from countline_control.database import Database

AUDIT_KEY: Final = "audit-key.pem"

_log = get_logger(__name__)


def audit_signer(path: Path) -> AuditSigner:
    """Read the key that signs the audit; make it if there is none.

    Raises:
        InvalidInputError: the file cannot be read or made, or holds no Ed25519 key.
    """
    try:
        return AuditSigner(ensure_secret(path, new_audit_key))
    except OSError as error:
        raise InvalidInputError(
            f"the key of the audit {path} cannot be used: {error.strerror}",
            hint="set COUNTLINE_AUDIT_KEY_FILE to a file that this service may write, or that holds the key",
        ) from error
    except (ValueError, TypeError) as error:
        raise InvalidInputError(
            f"{path} holds no Ed25519 key in PEM", hint="restore the key of the audit from a backup"
        ) from error


def check_retention(days: int) -> None:
    """Check the retention that the environment sets, in days; 0 for ever.

    Raises:
        InvalidInputError: it is shorter than the audit permits.
    """
    if 0 < days < SHORTEST_AUDIT_DAYS:
        raise InvalidInputError(
            f"COUNTLINE_AUDIT_RETENTION_DAYS is {days}, and the audit keeps rows for at least 30 days",
            hint="give 30 or more, or 0 to keep rows for ever",
        )


async def warn_if_unprotected(database: Database) -> None:
    """Log it if the role of the service may change rows of the audit."""
    if not await database.read(store.is_protected):
        _log.warning("audit.unprotected", hint="run: countline audit protect")
