"""The models that come with Countline, and their copy in the folder that the embedded Triton serves.

They come from the checkout's triton-repo/ or, in a wheel, from inside this package. Deployed models lie in the same
folder and are never changed. A shipped model with a deployed version is not changed either: its configuration names the
served versions, which a shipped configuration never does.
"""

import filecmp
import shutil
from pathlib import Path
from typing import Final

from countline_common.errors import UnavailableError
from countline_common.triton.storage import drop_folder, leftovers, make_folder, write

IN_WHEEL: Final = Path(__file__).resolve().parents[1] / "triton_repo"
IN_CHECKOUT: Final = Path(__file__).resolve().parents[3] / "triton-repo"

VERSION_POLICY: Final = "version_policy"


def find_shipped() -> Path:
    """The folder of shipped models.

    Raises:
        UnavailableError: the installation has none.
    """
    for folder in (IN_WHEEL, IN_CHECKOUT):
        if folder.is_dir():
            return folder
    raise UnavailableError("the shipped models are not installed", hint="reinstall countline")


def copy_shipped(source: Path, target: Path) -> list[str]:
    """Copy the models that are missing or differ; return their names.

    A model appears as a whole. If the process is killed meanwhile, the model is missing, and the next call copies it.
    """
    target.mkdir(parents=True, exist_ok=True)
    for left in leftovers(target):
        shutil.rmtree(left, ignore_errors=True)
    models = [folder for folder in sorted(source.iterdir()) if (folder / "config.pbtxt").is_file()]
    changed = [folder for folder in models if not _is_deployed(target / folder.name)]
    changed = [folder for folder in changed if not _same(folder, target / folder.name)]
    for folder in changed:
        _replace(folder, target / folder.name)
    return [folder.name for folder in changed]


def _is_deployed(folder: Path) -> bool:
    config = folder / "config.pbtxt"
    return config.is_file() and VERSION_POLICY in config.read_text(encoding="utf-8")


def _same(source: Path, target: Path) -> bool:
    files = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    return all((target / file).is_file() and filecmp.cmp(source / file, target / file, shallow=False) for file in files)


def _replace(source: Path, target: Path) -> None:
    def fill(folder: Path) -> None:
        for path in sorted(source.rglob("*")):
            copy = folder / path.relative_to(source)
            copy.mkdir() if path.is_dir() else write(copy, path)

    drop_folder(target)
    make_folder(target, fill)
