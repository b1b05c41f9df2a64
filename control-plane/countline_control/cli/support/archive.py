"""The archive of `countline support gather`: a tar.gz with one folder, readable by its owner only."""

import io
import json
import os
import tarfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from countline_common.files.output_files import OutputFile
from countline_control.cli.support.scrubbing import Scrubber

MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class GatheredFile:
    """One file of the archive, before secrets are taken out."""

    name: str
    """Path below the archive's folder."""
    content: Any
    """A text, or what `json.dumps` takes."""


def archive_of(folder: str, files: Iterable[GatheredFile], scrubber: Scrubber) -> bytes:
    """The archive. Every name and every content passes the scrubber."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for file in files:
            content = scrubbed(file, scrubber)
            entry = tarfile.TarInfo(f"{folder}/{scrubber.text(file.name)}")
            entry.size, entry.mode, entry.mtime = len(content), MODE, int(time.time())
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def write_private(output: OutputFile, content: bytes) -> None:
    """Write the archive to a file that only its owner can read; a pipe or a device keeps its mode."""
    if output.place is not None:
        os.fchmod(output.file.fileno(), MODE)
    output.write(content)


def scrubbed(file: GatheredFile, scrubber: Scrubber) -> bytes:
    """The bytes of a file, without secrets."""
    if isinstance(file.content, str):
        return scrubber.text(file.content).encode(errors="backslashreplace")
    return (json.dumps(scrubber.value(file.content), indent=2, ensure_ascii=False) + "\n").encode(
        errors="backslashreplace"
    )
