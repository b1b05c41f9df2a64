"""What the environment tells a worker."""

import socket
from enum import StrEnum
from pathlib import Path
from typing import Self

from countline_common.errors import InvalidInputError
from countline_common.settings import DataFolder, ProcessSettings
from countline_pipelines.sources import DecodeMode
from countline_pipelines.triton import Transport

MIB = 1024 * 1024


class PlaneBackend(StrEnum):
    """Which data plane a worker has."""

    SOFTWARE = "software"
    """FFmpeg decodes, our own tracker follows: everywhere."""
    DEEPSTREAM = "deepstream"
    """Decoding, batching and tracking inside NVIDIA's DeepStream: in its container, on a GPU."""


class WorkerSettings(ProcessSettings):
    """See each field; `COUNTLINE_` and the name in capitals is the variable."""

    nats_url: str
    workers_address: str = "127.0.0.1:8003"
    """gRPC address of the control-plane's service of workers."""
    worker_token_file: Path | None = None
    """Holds the token that the worker shows to the control-plane."""
    worker_name: str = socket.gethostname()
    """Stable over restarts."""
    backend: PlaneBackend = PlaneBackend.SOFTWARE
    """Which data plane; see deepstream/settings.py for what the other one is told."""
    triton_address: str = "127.0.0.1:9001"
    triton_transport: Transport = Transport.AUTO
    decode: DecodeMode = DecodeMode.AUTO
    """What decodes; `auto` takes the GPU where there is one, and the CPU for what it does not take."""
    spool: Path | None = None
    """Folder of records that JetStream has not acknowledged; that of the data folder where it is not given."""
    spool_max_bytes: int = 1024 * MIB
    health_address: str = "127.0.0.1:0"
    capacity: int = 16
    """Cameras that this worker can hold."""
    default_model: str = "demo_detector"
    """Of cameras that name none."""
    max_batch: int | None = None
    """Frames in one request at most; as the model allows where it is not given."""
    max_batch_wait_ms: float = 5.0
    in_flight: int | None = None
    """Requests to Triton at the same time; one more than the model has instances where it is not given."""

    @property
    def spool_folder(self) -> Path:
        """Where the spool lies."""
        return self.spool or DataFolder.resolve().spool / self.worker_name

    @property
    def pipelines_folder(self) -> Path:
        """Where the files of DeepStream's pipelines are written, to be looked at."""
        return DataFolder.resolve().run / f"pipelines-{self.worker_name}"

    def token(self) -> str:
        """The worker's token; empty where none is configured.

        Raises:
            InvalidInputError: the file cannot be read.
        """
        if self.worker_token_file is None:
            return ""
        try:
            return self.worker_token_file.read_text().strip()
        except OSError as error:
            raise InvalidInputError(
                f"the worker's token {self.worker_token_file} cannot be read: {error.strerror}",
                hint="set COUNTLINE_WORKER_TOKEN_FILE to the file that the control-plane made",
            ) from error

    def checked(self) -> Self:
        """These settings, if they can be used.

        Raises:
            InvalidInputError: they cannot.
        """
        if not 1 <= self.capacity <= 1000:
            raise InvalidInputError(f"a capacity of {self.capacity} cameras cannot be", hint="1 to 1000")
        return self
