"""Our C++ parser, built once."""

from pathlib import Path

import pytest
from tests.doubles.deepstream.parser_library import INCLUDE

import countline_pipelines.planes.deepstream as package


@pytest.fixture(scope="session")
def parser_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by its own Makefile against headers written from the documented interface."""
    import shutil
    import subprocess

    if shutil.which("g++") is None or shutil.which("make") is None:
        pytest.skip("building the parser needs g++ and make: apt-get install g++ make")
    target = tmp_path_factory.mktemp("parser") / "libcountline_parser.so"
    source = Path(package.__file__).parent / "parser"
    command = ["make", "-B", "-C", str(source), f"INCLUDES={INCLUDE}", f"OUTPUT={target}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target
