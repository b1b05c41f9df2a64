"""Where the whole system lies and listens on one machine."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from countline_common.secrets.master_keys import SOURCE_VARIABLES
from countline_common.settings import DataFolder
from countline_common.tls.authority import Authority
from countline_common.tls.files import TlsFiles
from countline_common.triton.access import SECRET_VARIABLE
from countline_local.supervision.credentials import Credentials
from countline_local.supervision.ports import HOST

TLS_PREFIX: Final = "COUNTLINE_TLS_"


@dataclass(frozen=True, slots=True)
class System:
    """Folders, ports and credentials of one `countline up`."""

    data: DataFolder
    ports: Mapping[str, int]
    """One port for each name in `ports.USUAL_PORTS`."""
    triton_segments: str
    """Prefix of the names of Triton's shared-memory segments."""
    use_tls: bool = False
    """Whether gRPC and NATS use TLS between the parts."""

    @property
    def credentials(self) -> Credentials:
        """Passwords and keys."""
        return Credentials(self.data.credentials)

    @property
    def url(self) -> str:
        """URL of the dashboard."""
        return f"http://{self.address('gateway')}/"

    @property
    def authority(self) -> Authority:
        """The CA of the data folder."""
        return Authority(self.data.certificates)

    def tls(self, name: str) -> TlsFiles | None:
        """The certificate files of a part; None without TLS."""
        return self.authority.files(name) if self.use_tls else None

    def address(self, name: str) -> str:
        """`host:port` of one listener."""
        return f"{HOST}:{self.ports[name]}"

    def environment(self) -> dict[str, str]:
        """The environment of a process of ours that needs no address of a part.

        It has neither the source of master keys nor the TLS of the caller's own environment.
        """
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in SOURCE_VARIABLES and not name.startswith(TLS_PREFIX)
        }
        return {
            **kept,
            "PYTHONUNBUFFERED": "1",
            "COUNTLINE_DATA": str(self.data.root),
            SECRET_VARIABLE: str(self.credentials.triton_secret),
        }
