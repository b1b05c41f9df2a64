"""The SQLite file of the spool: how it is opened and checked, and what happens when it is damaged.

    <folder>/records/spool.db      and beside it SQLite's write-ahead log
    <folder>/damaged-<n>/          a database that failed the check; its readable records are not copied yet
    <folder>/salvaged-<n>/         the same afterwards; nothing reads it again

SQLite's own checksums find a torn end of the write-ahead log. A column holds a checksum of each record as well, because
SQLite has none for the pages of the database.
"""

import os
import shutil
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from countline_common.errors import AlreadyExistsError, InternalError, ResourceExhaustedError
from countline_common.logs import get_logger

RECORDS: Final = "records"
DATABASE: Final = "spool.db"
# `secure_delete` overwrites what is deleted with zeros; Debian's SQLite does so by default, at six times the cost.
_SET_UP: Final = """
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA secure_delete = OFF;
    CREATE TABLE IF NOT EXISTS records (
        number INTEGER PRIMARY KEY,
        subject TEXT NOT NULL,
        payload BLOB NOT NULL,
        checksum INTEGER NOT NULL
    );
"""
_DAMAGED_RECORDS: Final = "SELECT count(*) FROM records WHERE checksum IS NOT checksum_of(number, subject, payload)"
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
_HEADER_BYTES: Final = 100
_LONGEST_PAD_BYTES: Final = 2**40
"""Padding is sparse; a header that states more is damaged itself."""
_log = get_logger(__name__)

Row = tuple[int, str, bytes, int]


class SpoolFullError(ResourceExhaustedError):
    """The spool has reached its bound, or its disk is full; nothing of the batch was written."""


class SpoolBrokenError(InternalError):
    """The disk cannot be written or read."""


def open_database(folder: Path, max_bytes: int) -> sqlite3.Connection:
    """Open the database of a spool, or create it. The connection is in autocommit mode, for use by any thread.

    Args:
        folder: of the spool.
        max_bytes: bound of the database, rounded down to pages of 4 KiB.

    Raises:
        AlreadyExistsError: another process holds the folder.
        SpoolFullError: there is no room to create the database.
        SpoolBrokenError: the disk cannot be written or read.
    """
    try:
        return _opened(folder, max_bytes)
    except sqlite3.Error as error:
        if _code(error) == sqlite3.SQLITE_BUSY:
            raise AlreadyExistsError(
                f"another worker is using the spool {folder}",
                hint="give each worker a spool of its own (COUNTLINE_SPOOL)",
            ) from error
        raise translated(folder, error) from error
    except OSError as error:
        raise SpoolBrokenError(f"cannot open the spool {folder}: {error.strerror}", hint="check the disk") from error


def remove_database(folder: Path) -> None:
    """Delete the database of a spool; the connection to it must be closed."""
    shutil.rmtree(folder / RECORDS, ignore_errors=True)


def sizes(database: sqlite3.Connection) -> tuple[int, int]:
    """Return the bytes of pages in use and of all pages, free ones included."""
    pages, free, page_bytes = (
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * page_bytes, pages * page_bytes


def translated(folder: Path, error: sqlite3.Error) -> SpoolFullError | SpoolBrokenError:
    """Return a failure of SQLite as an error of the spool."""
    if _code(error) == sqlite3.SQLITE_FULL:
        return SpoolFullError(
            f"the spool {folder} or its disk is full",
            hint="check that NATS is reachable and that ingest runs, so that the spool empties; or free disk space",
        )
    return SpoolBrokenError(f"cannot use the spool {folder}: {error}", hint="check the disk")


def _code(error: sqlite3.Error) -> int:
    """Return the primary result code: SQLite puts details into the higher bits. 0 for errors of Python's module."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _opened(folder: Path, max_bytes: int) -> sqlite3.Connection:
    path = folder / RECORDS / DATABASE
    database = None
    try:
        database = _connect(path)
        (damaged,) = database.execute(_DAMAGED_RECORDS).fetchone()
    except sqlite3.DatabaseError as error:
        if _code(error) not in _DAMAGE:
            raise
        damaged = 1
        _log.error("spool.damaged", error=str(error))
    if damaged:
        if database is not None:
            database.close()
        (folder / RECORDS).rename(_unused(folder, "damaged"))
        database = _connect(path)
    assert database is not None
    for source in sorted(folder.glob("damaged-*")):
        _salvage(source, database)
        source.rename(_unused(folder, "salvaged"))
    (page_bytes,) = database.execute("PRAGMA page_size").fetchone()
    database.execute(f"PRAGMA max_page_count = {max(1, max_bytes // page_bytes)}")
    return database


def _connect(path: Path) -> sqlite3.Connection:
    if not path.parent.exists():
        path.parent.mkdir(parents=True)
        _sync_folder(path.parent.parent)
    database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        database.create_function("checksum_of", 3, checksum_of, deterministic=True)
        database.executescript(_SET_UP)
    except sqlite3.Error:
        database.close()
        raise
    return database


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checksum_of(number: int, subject: str, payload: bytes) -> int:
    """Return the CRC-32 of a record."""
    return zlib.crc32(payload, zlib.crc32(f"{number} {subject}".encode()))


def _unused(folder: Path, kind: str) -> Path:
    return folder / f"{kind}-{1 + len(list(folder.glob(f'{kind}-*')))}"


def _salvage(source: Path, database: sqlite3.Connection) -> None:
    """Copy the readable records of a damaged database, in one transaction."""
    saved = 0
    database.execute("BEGIN IMMEDIATE")
    for row in _readable(source / DATABASE):
        saved += database.execute("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?)", row).rowcount
    database.execute("COMMIT")
    _log.error("spool.salvaged", records=saved, folder=str(source.parent))


def _readable(path: Path) -> Iterator[Row]:
    """Yield intact records. A damaged page ends a scan, so the table is read from both ends."""
    _pad(path)
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.DatabaseError):
            damaged = sqlite3.connect(path, isolation_level=None)
            try:
                for row in damaged.execute(f"SELECT * FROM records ORDER BY number {order}"):  # noqa: S608  (constants)
                    if _is_intact(row):
                        yield row
            finally:
                damaged.close()


def _pad(path: Path) -> None:
    """Give a database that was cut off the length that its header states; SQLite reads nothing of it otherwise."""
    with path.open("r+b") as file:
        header = file.read(_HEADER_BYTES)
        page_bytes, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
        size_bytes = page_bytes * pages
        if header.startswith(b"SQLite") and path.stat().st_size < size_bytes <= _LONGEST_PAD_BYTES:
            file.truncate(size_bytes)


def _is_intact(row: Row) -> bool:
    number, subject, payload, checksum = row
    is_typed = isinstance(subject, str) and isinstance(payload, bytes)
    return is_typed and checksum_of(number, subject, payload) == checksum
