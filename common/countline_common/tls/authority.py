"""A local certificate authority, and the certificates that it issues to the parts of one installation.

A folder holds `ca.pem`, `ca-key.pem`, and for each part `NAME.pem` and `NAME-key.pem`. Keys have mode 0600. Every
certificate serves both as a server's and as a client's, so a part needs one.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from countline_common.errors import InvalidInputError, NotFoundError
from countline_common.secrets.secret_files import write_secret
from countline_common.tls.files import TlsFiles, expiry, read_certificates

PARTS: Final = ("control", "api", "ingest", "worker", "nats", "postgres", "cli")
CA: Final = "ca"
CLI: Final = "cli"
CA_DAYS: Final = 3650
PART_DAYS: Final = 365
RENEW_BEFORE_DAYS: Final = 30
CLOCK_DIFFERENCE: Final = timedelta(hours=1)
"""Certificates are valid from this long ago: the clock of another machine may be behind."""
USUAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True, slots=True)
class CertificateView:
    """A certificate of the folder, for display."""

    name: str
    path: Path
    hosts: tuple[str, ...]
    expires_at: datetime

    def days_left(self, now: datetime) -> int:
        """Whole days until it expires; negative after that."""
        return (self.expires_at - now) // timedelta(days=1)


class Authority:
    """The certificate authority of one folder.

    Args:
        folder: of the certificates; `init` makes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self, name: str) -> TlsFiles:
        """The files of one part."""
        return TlsFiles(self.folder / "ca.pem", self.folder / f"{name}.pem", self.folder / f"{name}-key.pem")

    def exists(self) -> bool:
        """Whether the folder has a CA."""
        return (self.folder / "ca.pem").exists()

    def init(self, names: Sequence[str] = PARTS, hosts: Iterable[str] = (), days: int = PART_DAYS) -> list[str]:
        """Make what is missing: the CA, and a certificate for each name. Return the names that got one.

        Raises:
            InvalidInputError: a name or a host cannot be used.
        """
        if not self.exists():
            self._make_ca()
        missing = [name for name in names if not self.files(name).paths[1].exists()]
        for name in missing:
            self.issue(name, hosts, days)
        return missing

    def renew(self, names: Sequence[str] = (), hosts: Iterable[str] = (), days: int = PART_DAYS) -> list[str]:
        """Issue new certificates with new keys, for the same hosts and those given. Return the names.

        Args:
            names: empty for every part of the folder.
            hosts: further host names and addresses.
            days: of validity.
        """
        known = {view.name: view for view in self.views() if view.name != CA}
        if unknown := [name for name in names if name not in known]:
            raise NotFoundError(
                f"there is no certificate of {', '.join(unknown)} in {self.folder}",
                hint="make it: countline certs issue NAME",
            )
        renewed = list(names or known)
        for name in renewed:
            self.issue(name, (*known[name].hosts, *hosts), days)
        return renewed

    def renew_old(self, now: datetime) -> list[str]:
        """Renew the certificates that expire within `RENEW_BEFORE_DAYS`. Return the names."""
        old = [view.name for view in self.views() if view.name != CA and view.days_left(now) < RENEW_BEFORE_DAYS]
        return self.renew(old) if old else []

    def issue(self, name: str, hosts: Iterable[str] = (), days: int = PART_DAYS) -> None:
        """Make or replace the certificate of a part.

        Args:
            name: of the part, such as `worker-2`.
            hosts: names and addresses at which clients reach it, beside those of this machine.
            days: of validity.

        Raises:
            InvalidInputError: the name or a host cannot be used, or there is no CA.
        """
        if name == CA or not _NAME.fullmatch(name):
            hint = f"give lower-case letters, digits and hyphens; {CA} is the authority's"
            raise InvalidInputError(f"{name!r} cannot be the name of a part", hint=hint)
        issuer, issuer_key = self._authority()
        key = ec.generate_private_key(ec.SECP256R1())
        everywhere = dict.fromkeys((name, *USUAL_HOSTS, socket.gethostname(), *hosts))
        until = min(datetime.now(UTC) + timedelta(days=days), expiry(issuer))
        builder = (
            _builder(name, issuer.subject, key.public_key(), until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in everywhere]), critical=False)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
                critical=False,
            )
        )
        certificate_path, key_path = self.files(name).pair()
        # The key first: a reader that meets the old certificate with the new key reads both again.
        write_secret(key_path, _key_text(key))
        write_secret(certificate_path, _pem(builder.sign(issuer_key, hashes.SHA256())))

    def views(self) -> list[CertificateView]:
        """The certificates of the folder, the CA first.

        Raises:
            NotFoundError: there is no CA.
        """
        if not self.exists():
            raise NotFoundError(f"there are no certificates in {self.folder}", hint="make them: countline certs init")
        names = sorted(path.stem for path in self.folder.glob("*.pem") if not path.stem.endswith("-key"))
        return [self._view(name) for name in sorted(names, key=lambda name: name != CA)]

    def _view(self, name: str) -> CertificateView:
        path = self.folder / f"{name}.pem"
        certificate = read_certificates(path)[0]
        return CertificateView(name, path, _hosts(certificate), expiry(certificate))

    def _make_ca(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        title = f"Countline CA of {socket.gethostname()}"[:64]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
        until = datetime.now(UTC) + timedelta(days=CA_DAYS)
        builder = (
            _builder(title, subject, key.public_key(), until)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_ca_usage(), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        write_secret(self.folder / "ca-key.pem", _key_text(key))
        write_secret(self.folder / "ca.pem", _pem(builder.sign(key, hashes.SHA256())))

    def _authority(self) -> tuple[x509.Certificate, CertificateIssuerPrivateKeyTypes]:
        key = self.folder / "ca-key.pem"
        if not self.exists() or not key.exists():
            raise NotFoundError(
                f"there is no CA with its key in {self.folder}",
                hint="make one: countline certs init; or run this where the CA's key is",
            )
        loaded = load_pem_private_key(key.read_bytes(), None)
        return read_certificates(self.folder / "ca.pem")[0], loaded  # type: ignore[return-value]  # we made it


def _builder(name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, until: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - CLOCK_DIFFERENCE)
        .not_valid_after(until)
    )


def _ca_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        if not _HOST.fullmatch(host):
            raise InvalidInputError(
                f"{host!r} is no host name or address", hint="give it without a port, such as countline.example.org"
            ) from None
        return x509.DNSName(host)


def _hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names)


def _key_text(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
