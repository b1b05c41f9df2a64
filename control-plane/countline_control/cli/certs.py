"""`countline certs`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from countline_common.cli.tools import DataOption, JsonOption, note, print_json, print_table
from countline_common.settings import DataFolder
from countline_common.tls.authority import PART_DAYS, PARTS, RENEW_BEFORE_DAYS, Authority, CertificateView

SHOWN_HOSTS: Final = 4

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Make and inspect the certificates that the parts use for TLS."
)

FolderOption = Annotated[
    Path | None, typer.Option(help="Folder of the certificates; by default `certs` in the data folder.")
]
HostOption = Annotated[
    list[str] | None,
    typer.Option(metavar="HOST", help="Name or address at which clients reach the part. Repeatable."),
]
DaysOption = Annotated[int, typer.Option(min=1, help="Days until the certificates expire.")]


@app.command("init")
def init(
    host: HostOption = None, days: DaysOption = PART_DAYS, folder: FolderOption = None, data: DataOption = None
) -> None:
    """Make a CA, and a certificate for every part. What exists already is kept.

    Example: countline certs init --host countline.example.org
    """
    authority = _authority(folder, data)
    made = authority.init(PARTS, host or (), days)
    note(f"Made {', '.join(made)} in {authority.folder}." if made else f"{authority.folder} has every certificate.")


@app.command("issue")
def issue(
    name: Annotated[str, typer.Argument(help="Name of the part, such as worker-2.")],
    host: HostOption = None,
    days: DaysOption = PART_DAYS,
    folder: FolderOption = None,
    data: DataOption = None,
) -> None:
    """Make one more certificate, for a part on another machine.

    Example: countline certs issue worker-2 --host 10.0.0.9
    """
    authority = _authority(folder, data)
    authority.issue(name, host or (), days)
    files = ", ".join(path.name for path in authority.files(name).paths)
    note(f"Made {name}. Carry to its machine, from {authority.folder}: {files}.")


@app.command("renew")
def renew(
    name: Annotated[list[str] | None, typer.Argument(help="Names of parts; all if none is given.")] = None,
    host: HostOption = None,
    days: DaysOption = PART_DAYS,
    folder: FolderOption = None,
    data: DataOption = None,
) -> None:
    """Replace certificates by new ones of the same CA. Running parts use them without a restart.

    Example: countline certs renew worker-2
    """
    authority = _authority(folder, data)
    note(f"Renewed {', '.join(authority.renew(name or (), host or (), days))} in {authority.folder}.")


@app.command("show")
def show(json: JsonOption = False, folder: FolderOption = None, data: DataOption = None) -> None:
    """List the certificates, their names and the days until they expire.

    Example: countline certs show
    """
    now, views = datetime.now(UTC), _authority(folder, data).views()
    if json:
        print_json({"certificates": [_json(view, now) for view in views]})
        return
    rows = [(view.name, f"{view.expires_at:%Y-%m-%d}", _days(view, now), _hosts(view)) for view in views]
    print_table(("CERTIFICATE", "EXPIRES", "DAYS LEFT", "HOSTS"), rows, "No certificates found.")
    if any(view.days_left(now) < RENEW_BEFORE_DAYS for view in views):
        note("Some certificates expire soon. Renew them: countline certs renew")


def _authority(folder: Path | None, data: Path | None) -> Authority:
    return Authority(folder.absolute() if folder is not None else DataFolder.resolve(data).certificates)


def _days(view: CertificateView, now: datetime) -> str:
    left = view.days_left(now)
    return str(left) if left >= 0 else "expired"


def _hosts(view: CertificateView) -> str:
    hidden = len(view.hosts) - SHOWN_HOSTS
    return ", ".join(view.hosts[:SHOWN_HOSTS]) + (f" and {hidden} more" if hidden > 0 else "")


def _json(view: CertificateView, now: datetime) -> dict[str, object]:
    return {
        "name": view.name,
        "file": str(view.path),
        "hosts": list(view.hosts),
        "expires_at": view.expires_at.isoformat(),
        "days_left": view.days_left(now),
    }
