"""TLS of connections to NATS."""

import contextlib
import ssl
from urllib.parse import urlsplit

from countline_common.errors import CountlineError, InvalidInputError, UnavailableError
from countline_common.tls.diagnosis import explain
from countline_common.tls.files import TlsFiles, load_own_certificate

PORT = 4222
"""Of NATS, where an address names none."""
SCHEME = "tls"


class NatsTls:
    """The TLS of one client.

    Args:
        url: addresses of NATS, separated by commas; `tls://…` for TLS.
        files: certificate files; needed for `tls://`.

    Raises:
        InvalidInputError: the files are missing or cannot be used, or only some addresses have TLS.
    """

    def __init__(self, url: str, files: TlsFiles | None) -> None:
        schemes = {address.partition("://")[0] for address in url.split(",")}
        first = urlsplit(url.split(",", maxsplit=1)[0])
        self._address = f"{first.hostname}:{first.port or PORT}"
        self._files = files
        self.context: ssl.SSLContext | None = None
        """For the client; None without TLS."""
        if SCHEME in schemes:
            if len(schemes) > 1:
                raise InvalidInputError(
                    "some addresses of NATS have TLS and some have not", hint="write tls:// for all"
                )
            if files is None:
                raise InvalidInputError("NATS has TLS, but no CA is set", hint="set COUNTLINE_TLS_CA_FILE")
            self.context = files.client_context()

    def reload(self) -> None:
        """Let the next connection use the certificate that the files hold now."""
        if self.context is not None and self._files is not None:
            with contextlib.suppress(OSError):  # being replaced: the certificate at hand serves once more
                load_own_certificate(self.context, self._files)

    def cause(self, error: Exception) -> CountlineError | None:
        """The error that names TLS as the reason why no connection was made; None if it is not."""
        if self.context is not None and self._files is not None:
            return explain(error, self._address, self._files)
        if not isinstance(error, ssl.SSLError):
            return None
        return UnavailableError(
            f"NATS at {self._address} requires TLS",
            hint="write tls:// in COUNTLINE_NATS_URL, and set COUNTLINE_TLS_CA_FILE",
        )
