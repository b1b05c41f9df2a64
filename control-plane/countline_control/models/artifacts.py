"""Where the files of deployed models are kept besides Triton's repository, by their digest.

A repository that was lost or is new, such as that of another Triton, is filled from here. What is kept is never
changed: a digest names one content. Three places: the NATS object store (the default), anything that fsspec knows
(`s3://bucket/models`, `gs://…`, `file:///…`), or none but the repository itself.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import ObjectStoreConfig
from nats.js.object_store import ObjectStore

from countline_common.errors import CountlineError, InvalidInputError, NotFoundError, UnavailableError

BUCKET: Final = "countline-models"
NATS: Final = "nats"
REPOSITORY: Final = "repository"
TRANSFER_TIMEOUT_S: Final = 600.0
BLOCK_BYTES: Final = 1 << 20

_Result = TypeVar("_Result")


class ArtifactStore(Protocol):
    """Keeps files by digest (SHA-256, 64 hexadecimal digits)."""

    async def has(self, digest: str) -> bool:
        """Whether it keeps it."""
        ...

    async def put(self, digest: str, file: Path) -> None:
        """Keep a file; nothing happens where it is kept already."""
        ...

    async def get(self, digest: str, file: Path) -> None:
        """Write what is kept into a file.

        Raises:
            NotFoundError: it is not kept.
        """
        ...

    async def delete(self, digest: str) -> None:
        """Forget it; nothing happens where it is not kept."""
        ...


class NatsArtifacts:
    """The object store of NATS.

    Args:
        jetstream: the context to use; None while NATS is away.
    """

    def __init__(self, jetstream: Callable[[], JetStreamContext | None]) -> None:
        self._jetstream = jetstream

    async def has(self, digest: str) -> bool:
        """See `ArtifactStore`."""

        async def look(store: ObjectStore) -> bool:
            await store.get_info(digest)
            return True

        try:
            return await self._with_bucket(look)
        except NotFoundError:
            return False

    async def put(self, digest: str, file: Path) -> None:
        """See `ArtifactStore`."""
        if await self.has(digest):
            return

        async def write(store: ObjectStore) -> None:
            with await asyncio.to_thread(file.open, "rb") as data:
                await store.put(digest, data)

        await self._with_bucket(write)

    async def get(self, digest: str, file: Path) -> None:
        """See `ArtifactStore`."""

        async def read(store: ObjectStore) -> None:
            with await asyncio.to_thread(file.open, "wb") as data:
                await store.get(digest, writeinto=cast("Any", data))

        await self._with_bucket(read)

    async def delete(self, digest: str) -> None:
        """See `ArtifactStore`."""
        if await self.has(digest):
            await self._with_bucket(lambda store: store.delete(digest))

    async def _with_bucket(self, work: Callable[[ObjectStore], Awaitable[_Result]]) -> _Result:
        jetstream = self._jetstream()
        if jetstream is None:
            raise UnavailableError("NATS is away, and models are kept there", hint="try again when it is back")
        try:
            async with asyncio.timeout(TRANSFER_TIMEOUT_S):
                return await work(await _bucket(jetstream))
        except nats.js.errors.ObjectNotFoundError as error:
            raise NotFoundError("the NATS object store does not keep this model") from error
        except (nats.errors.Error, TimeoutError) as error:
            raise UnavailableError(
                f"the NATS object store fails: {str(error) or type(error).__name__}", hint="see NATS's log and its disk"
            ) from error


async def _bucket(jetstream: JetStreamContext) -> ObjectStore:
    try:
        return await jetstream.object_store(BUCKET)
    except nats.js.errors.NotFoundError:
        config = ObjectStoreConfig(bucket=BUCKET, description="Models by digest")
        return await jetstream.create_object_store(BUCKET, config=config)


class FsspecArtifacts:
    """A folder behind an address that fsspec knows; S3 by its API.

    Args:
        url: such as `s3://bucket/models`; credentials and the endpoint come from the environment, as the library of
            that kind of address documents it (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …).

    Raises:
        InvalidInputError: the kind of address is not known, or its library is not installed.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        try:
            # Without fsspec's own caches: another process may keep or delete models there too.
            self._system, self._root = fsspec.core.url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)
        except (ValueError, ImportError) as error:
            raise InvalidInputError(
                f"COUNTLINE_MODEL_STORE: {url!r} cannot be used: {error}",
                hint=f"give {NATS}, {REPOSITORY}, or an address; for s3:// pip install 'countline[s3]'",
            ) from error

    async def has(self, digest: str) -> bool:
        """See `ArtifactStore`."""
        return await self._in_thread(lambda: bool(self._system.exists(self._place(digest))))

    async def put(self, digest: str, file: Path) -> None:
        """See `ArtifactStore`."""
        if not await self.has(digest):
            await self._in_thread(lambda: self._write(digest, file))

    async def get(self, digest: str, file: Path) -> None:
        """See `ArtifactStore`."""
        await self._in_thread(lambda: self._read(digest, file))

    async def delete(self, digest: str) -> None:
        """See `ArtifactStore`."""
        if await self.has(digest):
            await self._in_thread(lambda: self._system.rm(self._place(digest)))

    def _place(self, digest: str) -> str:
        return f"{self._root.rstrip('/')}/{digest}.onnx"

    def _write(self, digest: str, file: Path) -> None:
        # Beside its place first: a transfer that breaks off must not leave half a model under a whole one's name.
        self._system.makedirs(self._root, exist_ok=True)
        partial = f"{self._place(digest)}.partial"
        with file.open("rb") as source, self._system.open(partial, "wb") as target:
            shutil.copyfileobj(source, target, BLOCK_BYTES)
        self._system.mv(partial, self._place(digest))

    def _read(self, digest: str, file: Path) -> None:
        with self._system.open(self._place(digest), "rb") as source, file.open("wb") as target:
            shutil.copyfileobj(source, target, BLOCK_BYTES)

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        try:
            async with asyncio.timeout(TRANSFER_TIMEOUT_S):
                return await asyncio.to_thread(work)
        except FileNotFoundError as error:
            raise NotFoundError(f"{self._root} does not keep this model") from error
        except CountlineError:
            raise
        except Exception as error:  # each kind of address has errors of its own
            raise UnavailableError(
                f"the model store {self._root} fails: {str(error) or type(error).__name__}",
                hint="see that it can be reached",
            ) from error


def open_store(where: str, jetstream: Callable[[], JetStreamContext | None]) -> ArtifactStore | None:
    """The store that a setting names: `nats`, an address, or `repository` for None: files lie in Triton's alone.

    Raises:
        InvalidInputError: it is none of them.
    """
    if where == REPOSITORY:
        return None
    return NatsArtifacts(jetstream) if where == NATS else FsspecArtifacts(where)
