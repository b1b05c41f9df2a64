"""TLS of connections to PostgreSQL: libpq reads the certificate files again for every connection."""

from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from countline_common.tls.files import TlsFiles

MODE: Final = "sslmode"


def with_tls(dsn: str, files: TlsFiles | None) -> str:
    """An address of PostgreSQL that requires TLS and checks the server's certificate and name.

    Args:
        dsn: `postgresql://…`; one that names an `sslmode` stays as it is.
        files: None for no TLS.
    """
    parts = urlsplit(dsn)
    given = parse_qsl(parts.query, keep_blank_values=True)
    if files is None or not dsn or MODE in dict(given):
        return dsn
    added = {MODE: "verify-full", "sslrootcert": str(files.ca)}
    if files.certificate is not None:
        added |= {"sslcert": str(files.certificate), "sslkey": str(files.key)}
    return urlunsplit(parts._replace(query=urlencode([*given, *added.items()])))
