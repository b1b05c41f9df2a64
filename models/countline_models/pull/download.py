"""A download that resumes after a broken connection and never keeps wrong bytes.

The part `FILE.part` (`countline_models.pull.part`) records the address and the ETag of its bytes. The next attempt, in
this run or a later one, asks for the rest by `Range` with `If-Range` (RFC 9110, sections 13.1.5 and 14.2). A complete
part is checked against size and SHA-256 and only then renamed to its target.
"""

import asyncio
import errno
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
from countline_models.digests import file_digest
from countline_models.pull.part import PartFile, PartOrigin
from countline_models.pull.responses import GoneError, RetryError, accepted_offset, check_size, reason_of
from countline_models.pull.wanted import DEFAULT_PATIENCE, Moved, Noted, Patience, Wanted

CHUNK_BYTES: Final = 256 * 1024
USER_AGENT: Final = "countline"


def _silent(*_: object) -> None:
    """Report nothing."""


async def pull(
    wanted: Wanted, target: Path, patience: Patience = DEFAULT_PATIENCE, moved: Moved = _silent, noted: Noted = _silent
) -> bool:
    """Download a file; returns False if the target is the file already.

    Args:
        wanted: the file.
        target: where it is written.
        patience: limits of time.
        moved: called with the progress in bytes.
        noted: called with a line for each failure that is retried.

    Raises:
        AlreadyExistsError: the target is another file.
        ConflictError: another process downloads to the target, or the bytes are wrong.
        NotFoundError: no address offers the file.
        ResourceExhaustedError: the disk is full.
        UnavailableError: no address can be reached or answers within the limits.
        InvalidInputError: the file cannot be written.
    """
    if await asyncio.to_thread(_is_complete, target, wanted):
        return False
    with _write_errors(target), PartFile.locked(target) as part:
        await _Download(wanted, part, patience, moved, noted).from_any()
        part.move_to(target)
    return True


def _is_complete(target: Path, wanted: Wanted) -> bool:
    if not target.exists():
        return False
    if not target.is_file() or file_digest(target) != wanted.sha256:
        raise AlreadyExistsError(
            f"{target} already exists and is another file", hint="move it away, or name another file with -o"
        )
    return True


@contextmanager
def _write_errors(target: Path) -> Iterator[None]:
    """Turn errors of the file system into errors with a hint."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise _disk_full(target) from error
        raise InvalidInputError(
            f"{target} cannot be written: {error.strerror or error}", hint="choose a folder that this user may write to"
        ) from error


def _disk_full(target: Path, missing_bytes: int = 0) -> ResourceExhaustedError:
    lack = f": {missing_bytes / 1e6:.1f} MB are missing" if missing_bytes > 0 else ""
    return ResourceExhaustedError(
        f"the disk of {target} is full{lack}",
        hint="free some space, or name another file with -o; the bytes received so far are kept",
    )


@dataclass(frozen=True, slots=True)
class _Download:
    """One file that is being downloaded."""

    wanted: Wanted
    part: PartFile
    patience: Patience
    moved: Moved
    noted: Noted

    async def from_any(self) -> None:
        """Download the file from the first address that offers it."""
        *others, last = self.wanted.addresses
        for address in others:
            try:
                await self._from(address)
            except (NotFoundError, UnavailableError, ConflictError) as error:
                self.noted(f"{error}; trying the next address")
            else:
                return
        await self._from(last)

    async def _from(self, address: str) -> None:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self.patience.connect_s, sock_read=self.patience.read_s
        )
        # Unencoded bytes: a compressed answer would have another size, and no ranges.
        headers = {"Accept-Encoding": "identity", "User-Agent": USER_AGENT}
        async with aiohttp.ClientSession(timeout=timeout, headers=headers, trust_env=True) as session:
            try:
                if not await self._is_right(session, address, last=False):
                    self.noted("the pieces do not fit together; downloading the file again")
                    self.part.begin(PartOrigin())
                    await self._is_right(session, address, last=True)
            except ConflictError:
                self.part.begin(PartOrigin())
                raise

    async def _is_right(self, session: aiohttp.ClientSession, address: str, *, last: bool) -> bool:
        """Download and check the digest; False if the bytes came in pieces that may not fit together.

        Raises:
            ConflictError: the bytes came in one piece and are wrong, or `last` allows no further attempt.
        """
        in_pieces = await self._attempts(session, address)
        found = await asyncio.to_thread(file_digest, self.part.path)
        if found != self.wanted.sha256 and (last or not in_pieces):
            raise ConflictError(
                f"{address} offers another file: its SHA-256 is {found}, not {self.wanted.sha256}; it was removed",
                hint="do not use it: it was replaced by its authors or on the way",
            )
        return found == self.wanted.sha256

    async def _attempts(self, session: aiohttp.ClientSession, address: str) -> bool:
        """Try until all bytes are received; True if they came in several pieces."""
        patience = self.patience
        backoff = Backoff(patience.first_pause_s, patience.longest_pause_s, jitter=0.0)
        until = time.monotonic() + patience.without_progress_s
        while True:
            before = self.part.size
            try:
                return await self._attempt(session, address)
            except GoneError as error:
                raise NotFoundError(str(error), hint=self.wanted.by_hand) from error
            except (RetryError, aiohttp.ClientError, TimeoutError) as error:
                if self.part.size > before:
                    backoff.reset()
                    until = time.monotonic() + patience.without_progress_s
                pause_s = backoff.next_s()
                if time.monotonic() + pause_s > until:
                    raise UnavailableError(f"{address}: {reason_of(error)}", hint=self.wanted.by_hand) from error
                self.noted(f"{reason_of(error)}; trying again in {pause_s:g} s")
                await asyncio.sleep(pause_s)

    async def _attempt(self, session: aiohttp.ClientSession, address: str) -> bool:
        """Download the missing bytes; True if earlier bytes were kept."""
        part, wanted = self.part, self.wanted
        received, origin = part.size, part.origin()
        if received > wanted.size_bytes or not origin.can_resume(address, received):
            part.begin(PartOrigin())
            received = 0
        if received == wanted.size_bytes:
            return True
        _check_space(part.path, wanted.size_bytes - received)
        headers = {"Range": f"bytes={received}-", "If-Range": origin.etag} if received else {}
        async with session.get(address, headers=headers) as response:
            received = accepted_offset(response, received, wanted, address)
            if received == 0:
                part.begin(PartOrigin(address, response.headers.get("ETag", "")))
            with part.path.open("ab") as file:
                await _receive(response, file.write, received, wanted, self.moved)
        return received > 0


def _check_space(path: Path, missing_bytes: int) -> None:
    lack = missing_bytes - shutil.disk_usage(path.parent).free
    if lack > 0:
        raise _disk_full(path, lack)


async def _receive(
    response: aiohttp.ClientResponse, write: Callable[[bytes], int], received: int, wanted: Wanted, moved: Moved
) -> None:
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        received += len(chunk)
        if received > wanted.size_bytes:
            check_size(received, wanted, str(response.url))
        write(chunk)
        moved(received, wanted.size_bytes)
    if received < wanted.size_bytes:
        raise RetryError(f"the connection ended after {received} of {wanted.size_bytes} bytes")
