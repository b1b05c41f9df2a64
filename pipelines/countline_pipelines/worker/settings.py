"""Settings of a worker, from the environment."""

import socket
from enum import StrEnum
from pathlib import Path
from typing import Self

from countline_common.errors import CountlineError, InvalidInputError
from countline_common.files.text_files import read_text
from countline_common.settings import DataFolder
from countline_common.tls.settings import TlsSettings
from countline_pipelines.sources import DecodeMode
from countline_pipelines.triton import Transport

MIB = 1024 * 1024


class PlaneBackend(StrEnum):
    """Which data plane a worker has."""

    SOFTWARE = "software"
    """FFmpeg decodes and our own tracker tracks; runs everywhere."""
    DEEPSTREAM = "deepstream"
    """NVIDIA's DeepStream decodes, batches and tracks; runs in its container, on a GPU."""


class WorkerSettings(TlsSettings):
    """Each field is set by a variable: `COUNTLINE_` and the field's name in capitals."""

    nats_url: str
    workers_address: str = "127.0.0.1:8003"
    """gRPC address of the control-plane's worker service."""
    worker_token_file: Path | None = None
    """File with the token that the worker sends to the control-plane."""
    worker_name: str = socket.gethostname()
    """Stable over restarts."""
    backend: PlaneBackend = PlaneBackend.SOFTWARE
    """Which data plane. planes/deepstream/settings.py has the settings of DeepStream."""
    triton_address: str = "127.0.0.1:9001"
    triton_transport: Transport = Transport.AUTO
    decode: DecodeMode = DecodeMode.AUTO
    """Which decoder. `auto` uses the GPU if there is one, and the CPU for streams that the GPU cannot decode."""
    spool: Path | None = None
    """Folder of records that JetStream has not acknowledged; by default in the data folder."""
    spool_max_bytes: int = 1024 * MIB
    """Bound of the spool on disk. At 90 % of it, cameras pause."""
    health_address: str = "127.0.0.1:0"
    capacity: int = 16
    """Number of cameras that this worker can hold, 1 to 1000."""
    default_model: str = "demo_detector"
    """Model of cameras whose spec names none."""
    max_batch: int | None = None
    """Largest number of frames in one request; by default what the model allows."""
    max_batch_wait_ms: float = 5.0
    in_flight: int | None = None
    """Requests to Triton at the same time; by default one more than the model has instances."""

    @property
    def spool_folder(self) -> Path:
        """Folder of the spool."""
        return self.spool or DataFolder.resolve().spool / self.worker_name

    @property
    def pipelines_folder(self) -> Path:
        """Folder for the configuration files of DeepStream's pipelines."""
        return DataFolder.resolve().run / f"pipelines-{self.worker_name}"

    def token(self) -> str:
        """Return the worker's token; empty if none is configured.

        Raises:
            InvalidInputError: the file cannot be read.
        """
        if self.worker_token_file is None:
            return ""
        try:
            return read_text(self.worker_token_file).strip()
        except CountlineError as error:
            raise InvalidInputError(
                f"cannot read the worker's token: {error.message}",
                hint="set COUNTLINE_WORKER_TOKEN_FILE to the file that the control-plane created",
            ) from error

    def checked(self) -> Self:
        """Return these settings.

        Raises:
            InvalidInputError: the capacity is out of range.
        """
        if not 1 <= self.capacity <= 1000:
            raise InvalidInputError(
                f"invalid capacity: {self.capacity} cameras", hint="set COUNTLINE_CAPACITY to 1 to 1000"
            )
        return self
