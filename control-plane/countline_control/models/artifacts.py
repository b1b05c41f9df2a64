"""The second place of model files beside Triton's repository: a store that keeps files by their digest.

A repository that is new or was lost is filled from this store. Files in it never change: a digest names one content.
There are three kinds: the NATS object store (the default), any address that fsspec knows (`s3://bucket/models`,
`gs://…`, `file:///…`), or none.
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

from countline_common.data.bus_users import MODEL_BUCKET
from countline_common.errors import CountlineError, InvalidInputError, NotFoundError, UnavailableError
from countline_common.resilience.dependency import Dependency
from countline_common.resilience.policy import CallLimits

NATS: Final = "nats"
REPOSITORY: Final = "repository"
TRANSFER_TIMEOUT_S: Final = 600.0
BLOCK_BYTES: Final = 1 << 20
DEPLOY_AGAIN: Final = "deploy this version again: countline models deploy"

_Result = TypeVar("_Result")


class ArtifactStore(Protocol):
    """Keeps files by digest (SHA-256, 64 hexadecimal digits)."""

    async def has(self, digest: str) -> bool:
        """Whether the store has a file."""
        ...

    async def put(self, digest: str, file: Path) -> None:
        """Store a file; does nothing if the store has it already."""
        ...

    async def get(self, digest: str, file: Path) -> None:
        """Write the stored content into `file`.

        Raises:
            NotFoundError: the store does not have it.
        """
        ...

    async def delete(self, digest: str) -> None:
        """Delete a file; does nothing if the store does not have it."""
        ...


class NatsArtifacts:
    """Keeps files in the object store of NATS.

    Args:
        jetstream: returns the context to use, or None while NATS is away.
    """

    def __init__(self, jetstream: Callable[[], JetStreamContext | None]) -> None:
        self._jetstream = jetstream

    async def has(self, digest: str) -> bool:
        async def look(store: ObjectStore) -> bool:
            await store.get_info(digest)
            return True

        try:
            return await self._with_bucket(look)
        except NotFoundError:
            return False

    async def put(self, digest: str, file: Path) -> None:
        if await self.has(digest):
            return

        async def write(store: ObjectStore) -> None:
            with await asyncio.to_thread(file.open, "rb") as data:
                await store.put(digest, data)

        await self._with_bucket(write)

    async def get(self, digest: str, file: Path) -> None:
        async def read(store: ObjectStore) -> None:
            with await asyncio.to_thread(file.open, "wb") as data:
                await store.get(digest, writeinto=cast("Any", data))

        await self._with_bucket(read)

    async def delete(self, digest: str) -> None:
        if await self.has(digest):
            await self._with_bucket(lambda store: store.delete(digest))

    async def _with_bucket(self, work: Callable[[ObjectStore], Awaitable[_Result]]) -> _Result:
        jetstream = self._jetstream()
        if jetstream is None:
            raise UnavailableError("NATS is away, which stores the models", hint="try again when it is back")
        try:
            async with asyncio.timeout(TRANSFER_TIMEOUT_S):
                return await work(await _bucket(jetstream))
        except nats.js.errors.ObjectNotFoundError as error:
            raise NotFoundError("the NATS object store does not have this model", hint=DEPLOY_AGAIN) from error
        except (nats.errors.Error, TimeoutError) as error:
            raise UnavailableError(
                f"the NATS object store fails: {str(error) or type(error).__name__}",
                hint="check NATS's log and disk",
            ) from error


async def _bucket(jetstream: JetStreamContext) -> ObjectStore:
    try:
        return await jetstream.object_store(MODEL_BUCKET)
    except nats.js.errors.NotFoundError:
        config = ObjectStoreConfig(bucket=MODEL_BUCKET, description="Models by digest")
        return await jetstream.create_object_store(MODEL_BUCKET, config=config)


class FsspecArtifacts:
    """Keeps files in a folder behind an address that fsspec knows, such as an S3 bucket.

    Args:
        url: such as `s3://bucket/models`. Credentials and endpoint come from the environment, in the variables of the
            library for this kind of address (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …).

        limits: of the transfers.

    Raises:
        InvalidInputError: the kind of address is unknown, or its library is not installed.
    """

    def __init__(self, url: str, limits: CallLimits) -> None:
        import fsspec

        try:
            # Without fsspec's caches: another process may add or delete models.
            self._system, self._root = fsspec.core.url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)
        except (ValueError, ImportError) as error:
            raise InvalidInputError(
                f"COUNTLINE_MODEL_STORE: {url!r} cannot be used: {error}",
                hint=f"give {NATS}, {REPOSITORY}, or an address; for s3:// pip install 'countline[s3]'",
            ) from error
        self._calls = Dependency("model_store", limits, is_failure=_is_away)

    async def has(self, digest: str) -> bool:
        return await self._in_thread(lambda: bool(self._system.exists(self._place(digest))))

    async def put(self, digest: str, file: Path) -> None:
        if not await self.has(digest):
            await self._in_thread(lambda: self._write(digest, file))

    async def get(self, digest: str, file: Path) -> None:
        await self._in_thread(lambda: self._read(digest, file))

    async def delete(self, digest: str) -> None:
        if await self.has(digest):
            await self._in_thread(lambda: self._system.rm(self._place(digest)))

    def _place(self, digest: str) -> str:
        return f"{self._root.rstrip('/')}/{digest}.onnx"

    def _write(self, digest: str, file: Path) -> None:
        # First under another name: an interrupted transfer must not leave half a model under the digest.
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
            async with self._calls.guarded():
                return await asyncio.to_thread(work)
        except FileNotFoundError as error:
            raise NotFoundError(f"{self._root} does not have this model", hint=DEPLOY_AGAIN) from error
        except CountlineError:
            raise
        except Exception as error:  # each kind of address has its own errors
            raise UnavailableError(
                f"the model store {self._root} fails: {str(error) or type(error).__name__}",
                hint="check that it can be reached",
            ) from error


def _is_away(error: BaseException) -> bool:
    """Whether the store did not answer: each kind of address has its own errors, but these are answers."""
    return not isinstance(error, FileNotFoundError | PermissionError | CountlineError)


def open_store(
    where: str, jetstream: Callable[[], JetStreamContext | None], limits: CallLimits
) -> ArtifactStore | None:
    """Open the store that a setting names: `nats`, an address, or `repository` for none (None).

    Args:
        where: the setting.
        jetstream: returns the context to use, or None while NATS is away.
        limits: of the transfers to an address.

    Raises:
        InvalidInputError: the setting names no store.
    """
    if where == REPOSITORY:
        return None
    return NatsArtifacts(jetstream) if where == NATS else FsspecArtifacts(where, limits)
