"""The wheel holds every room: a mistyped entry among its packages would build all the same, without that room."""

import subprocess
import sys
import zipfile

import pytest
from tests.fixtures.repository import REPOSITORY


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize(
    "package",
    [
        "countline",
        "countline_analytics",
        "countline_counting",
        "countline_common",
        "countline_control",
        "countline_demo",
        "countline_local",
        "countline_models",
        "countline_pipelines",
    ],
)
def test_the_wheel_holds_each_room_with_its_types(names: set[str], package: str) -> None:
    assert f"{package}/py.typed" in names


def test_the_wheel_holds_the_generated_contracts_and_the_shipped_models(names: set[str]) -> None:
    assert "countline/v1/cameras_pb2.py" in names
    assert "countline_local/triton_repo/demo_detector/config.pbtxt" in names


def test_every_sql_file_of_the_rooms_is_in_the_wheel(names: set[str]) -> None:
    for room in ("analytics", "control-plane"):
        for path in (REPOSITORY / room).rglob("*.sql"):
            assert path.relative_to(REPOSITORY / room).as_posix() in names
