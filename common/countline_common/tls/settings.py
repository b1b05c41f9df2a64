"""Settings of TLS, which every process has."""

from pathlib import Path

from countline_common.errors import InvalidInputError
from countline_common.settings import ProcessSettings
from countline_common.tls.files import TlsFiles


class TlsSettings(ProcessSettings):
    """Settings of TLS. Without a CA, gRPC and PostgreSQL are used without TLS."""

    tls_ca_file: Path | None = None
    """Certificates (PEM) of the authorities that sign the certificates of the other parts."""
    tls_cert_file: Path | None = None
    """Certificate (PEM) of this process: of its gRPC servers, and of itself as a client."""
    tls_key_file: Path | None = None
    tls_require_client_certs: bool = False
    """Whether our gRPC servers refuse clients without a certificate of the CA."""

    @property
    def tls(self) -> TlsFiles | None:
        """The certificate files; None without TLS.

        Raises:
            InvalidInputError: the files cannot be used.
        """
        if self.tls_ca_file is None:
            if self.tls_cert_file is not None or self.tls_key_file is not None:
                raise InvalidInputError(
                    "a certificate is set, but no CA", hint="set COUNTLINE_TLS_CA_FILE, or leave out the certificate"
                )
            return None
        files = TlsFiles(self.tls_ca_file, self.tls_cert_file, self.tls_key_file)
        files.check()
        return files
