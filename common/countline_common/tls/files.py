"""The certificate files of a process, and what is checked about them before use."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from countline_common.errors import InvalidInputError
from countline_common.files.text_files import reading

RENEW_HINT: Final = "renew it: countline certs renew"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The certificate files of a process, each in PEM. `check` says whether they can be used."""

    ca: Path
    """Certificates of the authorities that sign the certificates of the other parts."""
    certificate: Path | None = None
    """Certificate of this process; a server needs one, a client only where the server asks for it."""
    key: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that are set."""
        return tuple(path for path in (self.ca, self.certificate, self.key) if path is not None)

    def check(self) -> None:
        """Check that the files hold what they should.

        Raises:
            InvalidInputError: a file cannot be read, holds no certificate or key, or the two do not fit, or expired.
        """
        for authority in read_certificates(self.ca):
            _refuse_expired(authority, self.ca)
        if (self.certificate is None) != (self.key is None):
            raise InvalidInputError(
                "a certificate needs its key, and a key its certificate",
                hint="set both COUNTLINE_TLS_CERT_FILE and COUNTLINE_TLS_KEY_FILE",
            )
        if self.certificate is not None and self.key is not None:
            own = read_certificates(self.certificate)[0]
            _refuse_expired(own, self.certificate)
            _refuse_foreign_key(own, self.certificate, self.key)

    def pair(self) -> tuple[Path, Path]:
        """The files of certificate and key, which a server needs.

        Raises:
            InvalidInputError: they are not set.
        """
        if self.certificate is None or self.key is None:
            raise InvalidInputError(
                "a server with TLS needs a certificate", hint="set COUNTLINE_TLS_CERT_FILE and COUNTLINE_TLS_KEY_FILE"
            )
        return self.certificate, self.key

    def client_context(self) -> ssl.SSLContext:
        """A context for connections to servers; it checks the server's certificate and name.

        Raises:
            InvalidInputError: see `check`.
        """
        self.check()
        context = ssl.create_default_context(cafile=str(self.ca))
        load_own_certificate(context, self)
        return context


def load_own_certificate(context: ssl.SSLContext, files: TlsFiles) -> None:
    """Let new handshakes of a context use the certificate that the files hold now."""
    if files.certificate is not None:
        context.load_cert_chain(files.certificate, files.key)


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Read the certificates of a PEM file.

    Raises:
        InvalidInputError: the file cannot be read, or holds no certificate.
    """
    with reading(path):
        content = path.read_bytes()
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise InvalidInputError(f"{path} holds no certificate in PEM", hint="make one: countline certs init") from error


def expiry(certificate: x509.Certificate) -> datetime:
    """When a certificate expires."""
    return certificate.not_valid_after_utc


def _refuse_expired(certificate: x509.Certificate, path: Path) -> None:
    if datetime.now(UTC) > expiry(certificate):
        raise InvalidInputError(
            f"the certificate {path} expired on {expiry(certificate):%Y-%m-%d %H:%M} UTC", hint=RENEW_HINT
        )


def _refuse_foreign_key(certificate: x509.Certificate, path: Path, key_path: Path) -> None:
    with reading(key_path):
        content = key_path.read_bytes()
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError) as error:  # TypeError: the key has a passphrase
        raise InvalidInputError(
            f"{key_path} holds no private key in PEM without a passphrase", hint="correct COUNTLINE_TLS_KEY_FILE"
        ) from error
    if key.public_key() != certificate.public_key():
        raise InvalidInputError(
            f"the key {key_path} does not belong to the certificate {path}", hint="name the two files of one part"
        )
