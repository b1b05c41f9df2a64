"""gRPC's credentials from certificate files. A server uses new files from the next handshake on."""

from pathlib import Path

import grpc

from countline_common.logs import get_logger
from countline_common.tls.files import TlsFiles
from countline_common.tls.stamps import stamp

_log = get_logger(__name__)


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """The credentials of a connection that is opened now.

    Raises:
        InvalidInputError: the files cannot be used.
    """
    files.check()
    return grpc.ssl_channel_credentials(files.ca.read_bytes(), _content(files.key), _content(files.certificate))


def server_credentials(files: TlsFiles, *, require_client_certs: bool) -> grpc.ServerCredentials:
    """The credentials of one server; gRPC takes the first certificate once, so a second server needs its own.

    Args:
        files: of the server; its CA also checks the certificates of clients.
        require_client_certs: whether clients must have a certificate.

    Raises:
        InvalidInputError: the files cannot be used.
    """
    files.check()
    watched = _Watched(files)
    return grpc.dynamic_ssl_server_credentials(watched.current(), watched.changed, require_client_certs)  # type: ignore[arg-type]  # None: no change


class _Watched:
    """Certificate files that are read again after they changed."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamp = stamp(files)

    def current(self) -> grpc.ServerCertificateConfiguration:
        """What the files hold now."""
        files = self._files
        certificate, key = files.pair()
        return grpc.ssl_server_certificate_configuration(
            [(key.read_bytes(), certificate.read_bytes())], files.ca.read_bytes()
        )

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """What the files hold, if they changed; called by gRPC before each handshake, from a thread of its own.

        Files that cannot be used, perhaps because they are being replaced, are read again at the next handshake.
        """
        try:
            current = stamp(self._files)
            if current == self._stamp:
                return None
            self._files.check()
            configuration = self.current()
        except Exception as error:  # noqa: BLE001  (the server keeps its certificate, whatever is wrong with the new one)
            _log.error("tls.not_reloaded", error=str(error))
            return None
        self._stamp = current
        _log.info("tls.reloaded", certificate=str(self._files.certificate))
        return configuration


def _content(path: Path | None) -> bytes | None:
    return path.read_bytes() if path is not None else None
