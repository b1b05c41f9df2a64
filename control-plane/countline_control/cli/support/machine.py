"""What this machine knows: versions, settings of the environment, and the files of a data folder."""

import json
import os
import platform
import shutil
import stat
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from countline_common.cli.child_commands import call
from countline_common.grpc.logins import Profiles
from countline_common.settings import DataFolder
from countline_control.cli.support.archive import GatheredFile
from countline_control.cli.support.scrubbing import names_secret, shown_environment

MOST_LOG_BYTES: Final = 1024 * 1024
"""Of the end of each log file."""
MOST_LOG_FILES: Final = 50
MOST_LISTED: Final = 2000
MOST_SECRET_BYTES: Final = 64 * 1024
DOCTOR_TIMEOUT_S: Final = 60.0
PACKAGES: Final = (
    "countline",
    "grpcio",
    "nats-py",
    "psycopg",
    "sqlalchemy",
    "aiohttp",
    "av",
    "onnxruntime",
    "tritonclient",
)


def versions() -> dict[str, Any]:
    """Versions of what runs this command."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return {
        "packages": found,
        "python": sys.version,
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "load": list(os.getloadavg()),
    }


def configuration(folder: DataFolder | None) -> dict[str, Any]:
    """Settings of the environment, and what lies in the data folder: names, sizes and modes."""
    shown: dict[str, Any] = {"environment": shown_environment(os.environ)}
    if folder is not None and folder.root.is_dir():
        usage = shutil.disk_usage(folder.root)
        shown["data_folder"] = {
            "path": str(folder.root),
            "disk_bytes": {"total": usage.total, "used": usage.used, "free": usage.free},
            "files": list(_listed(folder.root)),
        }
        for name in ("endpoints", "ports", "state"):
            shown[name] = _json_file(folder.run / f"{name}.json")
    return shown


def _listed(root: Path) -> Iterator[str]:
    """Files of the folder, two levels deep, without what the database keeps."""
    number = 0
    for path in sorted([*root.glob("*"), *root.glob("*/*")]):
        if path.parent.name == "postgres":
            continue
        number += 1
        if number > MOST_LISTED:
            yield "…"
            return
        state = path.lstat()
        yield f"{stat.filemode(state.st_mode)} {state.st_size:>12} {path.relative_to(root)}"


def _json_file(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        return f"not readable: {type(error).__name__}"


def doctor() -> Any:
    """What `countline doctor` finds on this machine.

    Raises:
        CountlineError: it cannot run here, such as without the extra `pipelines`.
    """
    return json.loads(call("doctor", "--json", timeout_s=DOCTOR_TIMEOUT_S, trouble="countline doctor failed"))


def log_files(folder: DataFolder) -> Iterator[GatheredFile]:
    """The end of each log file of the data folder."""
    for path in sorted(folder.logs.glob("*.log*"))[:MOST_LOG_FILES]:
        if path.is_file():
            yield GatheredFile(f"logs/{path.name}", _end_of(path))


def _end_of(path: Path) -> str:
    """The last whole lines of a file: a line that is cut could show the half of a secret unrecognised."""
    try:
        with path.open("rb") as file:
            start = max(0, path.stat().st_size - MOST_LOG_BYTES)
            file.seek(start)
            data = file.read(MOST_LOG_BYTES)
    except OSError as error:
        return f"not readable: {error.strerror}\n"
    if start:
        data = data.partition(b"\n")[2]
    return data.decode(errors="replace")


def known_secrets(folder: DataFolder | None, api_key: str) -> set[str]:
    """Every secret that this machine knows, so that none can be in the archive, wherever it came from."""
    found = {api_key}
    found |= {value for name, value in os.environ.items() if names_secret(name)}
    for path in Profiles().folder.rglob("*"):
        found |= _texts(path)
    if folder is not None:
        for path in (
            *folder.credentials.rglob("*"),
            *folder.certificates.rglob("*.key*"),
            folder.run / "cli-login.json",
        ):
            found |= _texts(path)
    return found


def _texts(path: Path) -> set[str]:
    """The texts of a file that holds secrets: its lines, and the values of JSON that are tokens or keys."""
    try:
        if not path.is_file() or path.stat().st_size > MOST_SECRET_BYTES:
            return set()
        text = path.read_text(errors="replace")
    except OSError:
        return set()
    try:
        content = json.loads(text)
    except ValueError:
        return {line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("-----", "#"))}
    if not isinstance(content, dict):
        return set()
    return {value for name, value in content.items() if isinstance(value, str) and names_secret(name)}
