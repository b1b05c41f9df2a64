"""Finds out why a TLS connection failed: gRPC reports little more than that no server answered.

The functions block for some seconds at most.
"""

import socket
import ssl
from typing import Final

from countline_common.errors import CountlineError, UnavailableError
from countline_common.settings import host_port
from countline_common.tls.files import TlsFiles

TIMEOUT_S: Final = 3.0
ALERT_WITHIN_S: Final = 0.5
"""A server of TLS 1.3 refuses a client's certificate after the handshake."""
H2: Final = "h2"

EXPIRED: Final = 10
UNKNOWN_ISSUERS: Final = (18, 19, 20, 21)
OTHER_NAMES: Final = (62, 64)
"""Codes of OpenSSL's verification (X509_V_ERR_…): expired; four of an unknown issuer; another host, another address."""


def diagnose(address: str, files: TlsFiles | None) -> CountlineError | None:
    """Find out whether TLS is why a connection failed; None if it is not.

    Args:
        address: HOST:PORT of a gRPC server.
        files: the client's; None for a client without TLS.
    """
    host, port = host_port(address)
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT_S) as plain:
            return _with_tls(plain, host, address, files) if files is not None else _without_tls(plain, host, address)
    except OSError:
        return None


def _with_tls(plain: socket.socket, host: str, address: str, files: TlsFiles) -> CountlineError | None:
    context = files.client_context()
    context.set_alpn_protocols([H2])
    try:
        secure = context.wrap_socket(plain, server_hostname=host)
    except (ssl.SSLError, ConnectionError) as error:
        return explain(error, address, files)
    with secure:
        secure.settimeout(ALERT_WITHIN_S)
        try:
            # A server that takes the client speaks first in HTTP/2.
            return None if secure.recv(1) else _refused_client("", address, files)
        except TimeoutError:
            return None
        except (ssl.SSLError, ConnectionError) as error:
            return _refused_client(str(getattr(error, "reason", "")), address, files)


def _without_tls(plain: socket.socket, host: str, address: str) -> CountlineError | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent: does it speak TLS at all?
    context.set_alpn_protocols([H2])
    try:
        with context.wrap_socket(plain, server_hostname=host):
            return needs_tls(address)
    except ssl.SSLError as error:
        return needs_tls(address) if "ALERT" in str(error.reason) else None


def needs_tls(address: str) -> CountlineError:
    """The error of a client without TLS whose server requires it."""
    return UnavailableError(
        f"{address} requires TLS, and this client has no CA",
        hint="set COUNTLINE_TLS_CA_FILE to the CA's certificate, and COUNTLINE_TLS_CERT_FILE and "
        "COUNTLINE_TLS_KEY_FILE if the server requires a client certificate",
    )


def explain(error: Exception, address: str, files: TlsFiles) -> CountlineError | None:
    """The error that names why a handshake failed; None if TLS is not the reason.

    Args:
        error: of Python's `ssl`, or of the connection.
        address: of the server.
        files: the client's.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _refused_server(error, address, files)
    reason = str(getattr(error, "reason", "")).upper()
    if "ALERT" in reason:
        return _refused_client(reason, address, files)
    if isinstance(error, ssl.SSLError):
        return UnavailableError(
            f"{address} does not use TLS",
            hint="start the server with TLS, or unset COUNTLINE_TLS_CA_FILE to connect without",
        )
    return None


def _refused_server(error: ssl.SSLCertVerificationError, address: str, files: TlsFiles) -> CountlineError:
    if error.verify_code == EXPIRED:
        return UnavailableError(
            f"the certificate of {address} has expired", hint="renew it on the server: countline certs renew"
        )
    if error.verify_code in UNKNOWN_ISSUERS:
        return UnavailableError(
            f"the certificate of {address} is signed by a CA that {files.ca} does not contain",
            hint="copy the server's ca.pem and set COUNTLINE_TLS_CA_FILE to it",
        )
    if error.verify_code in OTHER_NAMES:
        host, _ = host_port(address)
        return UnavailableError(
            f"the certificate of {address} is for another name: {error.verify_message}",
            hint=f"use a name of the certificate, or add this one on the server: countline certs renew --host {host}",
        )
    return UnavailableError(
        f"the certificate of {address} is refused: {error.verify_message}", hint="see countline certs show"
    )


def _refused_client(reason: str, address: str, files: TlsFiles) -> CountlineError:
    if files.certificate is None:
        return UnavailableError(
            f"{address} requires a client certificate",
            hint="set COUNTLINE_TLS_CERT_FILE and COUNTLINE_TLS_KEY_FILE; make them: countline certs issue NAME",
        )
    words = reason.rpartition("ALERT_")[2].lower().replace("_", " ")
    why = f": {words}" if words else ""
    return UnavailableError(
        f"{address} refuses the client certificate {files.certificate}{why}",
        hint="use a certificate of the server's CA that has not expired: countline certs show",
    )
