"""The declared interface to the room that brings an embedded Triton (countline_local).

Rooms do not import each other, so a command that needs a Triton of its own finds one through the entry-point group
`countline.triton`. Its one entry is an object that satisfies `TritonProvider`.
"""

from contextlib import AbstractContextManager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Protocol, cast

from countline_common.errors import CountlineError

ENTRY_POINT_GROUP: Final = "countline.triton"


class PrivateTriton(Protocol):
    """A Triton that one command runs for itself. It is restarted up to three times when it ends by itself."""

    @property
    def address(self) -> str:
        """`host:port` of its gRPC service; it stays the same over restarts."""
        ...

    def wait_ready(self) -> None:
        """Wait until it serves; it gives up by itself after a while.

        Raises:
            CountlineError: it did not start.
        """
        ...

    @property
    def has_ended(self) -> bool:
        """Whether it has ended for good."""
        ...

    def failure(self) -> CountlineError:
        """The error with which it ended."""
        ...


class TritonProvider(Protocol):
    """What a room registers under `ENTRY_POINT_GROUP`."""

    def shipped_models(self) -> Path:
        """The folder of the models that come with Countline.

        Raises:
            UnavailableError: it is missing from the installation.
        """
        ...

    def private_triton(self, repository: Path) -> AbstractContextManager[PrivateTriton]:
        """A Triton that serves a folder of models on free ports, as long as the block lasts."""
        ...


class TritonProviderMissingError(CountlineError):
    """No installed room brings an embedded Triton."""

    code = "FAILED_PRECONDITION"

    def __init__(self) -> None:
        super().__init__("no embedded Triton is installed", hint="pip install 'countline[local]'")


def triton_provider() -> TritonProvider:
    """The registered provider.

    Raises:
        TritonProviderMissingError: none is registered.
    """
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        return cast("TritonProvider", entry.load())
    raise TritonProviderMissingError
