"""A download that survives what networks do: cut off, it goes on where it was; changed or wrong, it is thrown away.

Beside `FILE` grow `FILE.part` and `FILE.part.json`, which says where the bytes came from and which ETag the server gave
them. The next attempt, of this run or a later one, asks for the rest by `Range` with `If-Range` (RFC 9110, sections
13.1.5 and 14.2). What is whole is held against size and SHA-256, and only then takes its name, at once.
"""

import asyncio
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import aiohttp

from countline_common.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from countline_common.resilience.retry import Backoff

CHUNK_BYTES: Final = 256 * 1024
GONE: Final = frozenset({401, 403, 404, 410})
PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that another attempt may better."""
USER_AGENT: Final = "countline"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file and where it may be had."""

    addresses: tuple[str, ...]
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try."""

    without_progress_s: float = 60.0
    """Attempts go on while this has not passed since the last new byte."""
    first_pause_s: float = 0.5
    longest_pause_s: float = 10.0
    connect_s: float = 15.0
    read_s: float = 30.0
    """Without a byte, a connection counts as cut off after this."""


Moved = Callable[[int, int], None]
"""Is told how many bytes are there, of how many."""
Noted = Callable[[str], None]
"""Is told, for people, what went wrong and is tried again."""


def _silent(*_: object) -> None:
    """Tell nobody."""


class _TryAgainError(Exception):
    """Something that may pass."""


class _GoneError(Exception):
    """This address does not have the file."""


async def pull(
    wanted: Wanted, target: Path, patience: Patience = Patience(), moved: Moved = _silent, noted: Noted = _silent
) -> bool:
    """Bring a file here; False where it was here already.

    Raises:
        AlreadyExistsError: another file has that name.
        ConflictError: somebody else is bringing it here, or the bytes are not those that are wanted.
        NotFoundError: no address has it.
        ResourceExhaustedError: the disk is full.
        UnavailableError: no address can be reached, or answers, for as long as there is patience.
        InvalidInputError: the file cannot be written.
    """
    if await asyncio.to_thread(_is_here, target, wanted):
        return False
    with _written(target), _Part.held(target) as part:
        await _Pull(wanted, part, patience, moved, noted).from_any()
        part.move_to(target)
    return True


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_here(target: Path, wanted: Wanted) -> bool:
    if not target.exists():
        return False
    if not target.is_file() or sha256_of(target) != wanted.sha256:
        raise AlreadyExistsError(f"{target} is there already and is another file", hint="move it, or name another -o")
    return True


@contextmanager
def _written(target: Path) -> Iterator[None]:
    """Errors of writing say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise _disk_full(target) from error
        raise InvalidInputError(f"{target} cannot be written: {error.strerror or error}") from error


def _disk_full(target: Path, missing_bytes: int = 0) -> ResourceExhaustedError:
    lack = f": {missing_bytes / 1e6:.1f} MB are missing" if missing_bytes > 0 else ""
    return ResourceExhaustedError(
        f"the disk of {target} is full{lack}", hint="make room, or name another -o; what is here already is kept"
    )


class _Part:
    """The bytes that are here so far."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._origin_path = target.with_name(f"{target.name}.part.json")

    @classmethod
    @contextmanager
    def held(cls, target: Path) -> "Iterator[_Part]":
        """Hold it, so that two processes do not write into one file."""
        target.parent.mkdir(parents=True, exist_ok=True)
        part = cls(target)
        descriptor = os.open(part.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConflictError(f"another process is bringing {target} here", hint="wait for it") from error
            yield part
        finally:
            if part.path.exists() and part.size == 0:
                part.discard()
            os.close(descriptor)

    @property
    def size(self) -> int:
        """Bytes that are here."""
        return self.path.stat().st_size

    def origin(self) -> "_Origin":
        """Where they came from; nowhere where nothing can be read."""
        try:
            return _Origin(**json.loads(self._origin_path.read_text()))
        except (OSError, ValueError, TypeError):
            return _Origin()

    def begin(self, origin: "_Origin") -> None:
        """Throw away what is here; what comes next is from elsewhere."""
        self.path.open("wb").close()
        self._origin_path.write_text(json.dumps(asdict(origin)))

    def discard(self) -> None:
        """Leave nothing here."""
        self.path.unlink(missing_ok=True)
        self._origin_path.unlink(missing_ok=True)

    def move_to(self, target: Path) -> None:
        """Give the file its name, once its bytes are on the disk."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(target)
        self._origin_path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Origin:
    address: str = ""
    etag: str = ""

    def asks_for_the_rest(self, address: str, size: int) -> bool:
        """Whether the server can be asked for what is missing, of the very file that this began with.

        A weak ETag cannot say so (RFC 9110, section 13.1.5); then it begins anew.
        """
        return size > 0 and self.address == address and self.etag.startswith('"')


@dataclass(frozen=True, slots=True)
class _Pull:
    """One file on its way here."""

    wanted: Wanted
    part: _Part
    patience: Patience
    moved: Moved
    noted: Noted

    async def from_any(self) -> None:
        """Bring the whole file from the first address that has it."""
        *others, last = self.wanted.addresses
        for address in others:
            try:
                await self._from(address)
            except (NotFoundError, UnavailableError, ConflictError) as error:
                self.noted(f"{error}; asking the next address")
            else:
                return
        await self._from(last)

    async def _from(self, address: str) -> None:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self.patience.connect_s, sock_read=self.patience.read_s
        )
        # The bytes as they are: a compressed answer would have another size, and no ranges.
        headers = {"Accept-Encoding": "identity", "User-Agent": USER_AGENT}
        async with aiohttp.ClientSession(timeout=timeout, headers=headers, trust_env=True) as session:
            try:
                if not await self._right(session, address, last=False):
                    self.noted("the pieces do not fit together; bringing it here anew")
                    self.part.begin(_Origin())
                    await self._right(session, address, last=True)
            except ConflictError:
                self.part.begin(_Origin())
                raise

    async def _right(self, session: aiohttp.ClientSession, address: str, *, last: bool) -> bool:
        """Whether the bytes are those that are wanted; False where they came in pieces that may not fit together.

        Raises:
            ConflictError: they came at once and are others, or this was the last chance.
        """
        in_pieces = await self._attempts(session, address)
        found = await asyncio.to_thread(sha256_of, self.part.path)
        if found != self.wanted.sha256 and (last or not in_pieces):
            raise ConflictError(
                f"what {address} gives is not the file that is wanted: its SHA-256 is {found}, "
                f"not {self.wanted.sha256}; it was removed",
                hint="do not use it: its authors have replaced it, or somebody on the way has",
            )
        return found == self.wanted.sha256

    async def _attempts(self, session: aiohttp.ClientSession, address: str) -> bool:
        """Try until all bytes are here; True where they came in several pieces."""
        patience = self.patience
        backoff = Backoff(patience.first_pause_s, patience.longest_pause_s, jitter=0.0)
        until = time.monotonic() + patience.without_progress_s
        while True:
            before = self.part.size
            try:
                return await self._attempt(session, address)
            except _GoneError as error:
                raise NotFoundError(str(error), hint=_by_hand(self.wanted)) from error
            except (_TryAgainError, aiohttp.ClientError, TimeoutError) as error:
                if self.part.size > before:
                    backoff.reset()
                    until = time.monotonic() + patience.without_progress_s
                pause_s = backoff.next_s()
                if time.monotonic() + pause_s > until:
                    raise UnavailableError(f"{address}: {_reason(error)}", hint=_by_hand(self.wanted)) from error
                self.noted(f"{_reason(error)}; trying again in {pause_s:g} s")
                await asyncio.sleep(pause_s)

    async def _attempt(self, session: aiohttp.ClientSession, address: str) -> bool:
        """Bring what is missing; True where it went on with what was here."""
        part, wanted = self.part, self.wanted
        here, origin = part.size, part.origin()
        if here > wanted.size_bytes or not origin.asks_for_the_rest(address, here):
            part.begin(_Origin())
            here = 0
        if here == wanted.size_bytes:
            return True
        _has_room(part.path, wanted.size_bytes - here)
        headers = {"Range": f"bytes={here}-", "If-Range": origin.etag} if here else {}
        async with session.get(address, headers=headers) as response:
            here = _accepted(response, here, wanted, address)
            if here == 0:
                part.begin(_Origin(address, response.headers.get("ETag", "")))
            with part.path.open("ab") as file:
                await _receive(response, file.write, here, wanted, self.moved)
        return here > 0


def _accepted(response: aiohttp.ClientResponse, here: int, wanted: Wanted, address: str) -> int:
    """Where the bytes that follow belong: behind those that are here, or at the beginning.

    A server that does not know ranges, or whose file has changed since, answers with the whole file.
    """
    status = response.status
    if status in GONE:
        raise _GoneError(f"{address} does not have it: {status} {response.reason}")
    if status in PASSING:
        raise _TryAgainError(f"the server answers {status} {response.reason}")
    if status == 206 and (range_ := _range(response)) and range_[0] == here:
        _check_size(range_[1], wanted, address)
        return here
    if status != 200:
        raise UnavailableError(f"{address} answers {status} {response.reason}", hint=_by_hand(wanted))
    _check_size(response.content_length or wanted.size_bytes, wanted, address)
    return 0


def _range(response: aiohttp.ClientResponse) -> tuple[int, int] | None:
    """Where the bytes of a part begin, and how long the whole is."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    return (int(found[1]), int(found[2])) if found else None


def _check_size(size_bytes: int, wanted: Wanted, address: str) -> None:
    if size_bytes != wanted.size_bytes:
        raise ConflictError(
            f"{address} has a file of {size_bytes} bytes, not of {wanted.size_bytes}: it is another one",
            hint="do not use it: its authors have replaced it; nothing was kept",
        )


def _has_room(path: Path, missing_bytes: int) -> None:
    lack = missing_bytes - shutil.disk_usage(path.parent).free
    if lack > 0:
        raise _disk_full(path, lack)


async def _receive(
    response: aiohttp.ClientResponse, write: Callable[[bytes], int], here: int, wanted: Wanted, moved: Moved
) -> None:
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        here += len(chunk)
        if here > wanted.size_bytes:
            _check_size(here, wanted, str(response.url))
        write(chunk)
        moved(here, wanted.size_bytes)
    if here < wanted.size_bytes:
        raise _TryAgainError(f"the connection ended after {here} of {wanted.size_bytes} bytes")


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{error.host} cannot be reached: {error.os_error.strerror or error.os_error}"
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return "the connection was cut off"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__


def _by_hand(wanted: Wanted) -> str:
    return (
        "see that this machine reaches the internet (HTTPS_PROXY where it goes through a proxy), "
        f"or bring it here by hand and compare its SHA-256: {' or '.join(wanted.addresses)}"
    )
