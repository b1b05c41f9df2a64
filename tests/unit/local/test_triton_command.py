"""How the embedded Triton is called, and what its backends are made of."""

import os
import sys
from pathlib import Path

import pytest

from countline_local.triton.assembly import TritonMissingError, find_wheel, prepare_backends
from countline_local.triton.command import TritonPorts, TritonSettings, triton_command

PORTS = TritonPorts(19000, 19001, 19002)


@pytest.fixture
def command(tmp_path: Path):
    settings = TritonSettings((tmp_path / "repository",), secret="x", models=("a", "b"), ports=PORTS)
    return triton_command(settings, tmp_path / "backends", PORTS, "countline-triton-x-")


def test_it_listens_on_this_machine_alone_and_on_the_ports_it_is_given(command) -> None:
    for kind, port in (("http", 19000), ("grpc", 19001), ("metrics", 19002)):
        assert f"--{kind}-address=127.0.0.1" in command.argv
        assert f"--{kind}-port={port}" in command.argv


def test_models_are_loaded_when_somebody_says_so(command) -> None:
    assert "--model-control-mode=explicit" in command.argv
    assert [word for word in command.argv if word.startswith("--load-model")] == ["--load-model=a", "--load-model=b"]


def test_its_shared_memory_is_named_so_that_it_can_be_found_again(command) -> None:
    assert "--backend-config=python,shm-region-prefix-name=countline-triton-x-" in command.argv


def test_the_backends_run_in_this_very_environment(command) -> None:
    first = Path(command.env["PATH"].split(":")[0])
    assert (first / "python3").exists()
    assert first == Path(sys.executable).parent


def test_nothing_of_our_environment_leaks_into_it(command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COUNTLINE_SECRET", "x")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    settings = TritonSettings((tmp_path,), secret="x", ports=PORTS)
    env = triton_command(settings, tmp_path, PORTS, "p").env
    assert "COUNTLINE_SECRET" not in env
    assert "PYTHONPATH" not in env


def test_the_assembled_backends_hold_the_stub_of_the_running_python(tmp_path: Path) -> None:
    backends = prepare_backends(tmp_path)
    assert sorted(str(path.relative_to(backends)) for path in backends.rglob("*") if path.is_file()) == [
        "onnxruntime/model.py",
        "python/libtriton_python.so",
        "python/triton_python_backend_stub",
        "python/triton_python_backend_utils.py",
    ]
    assert os.access(backends / "python" / "triton_python_backend_stub", os.X_OK)
    assert not any(path.is_symlink() for path in backends.rglob("*")), "Triton refuses links out of a backend's folder"


def test_assembling_again_replaces_only_what_differs(tmp_path: Path) -> None:
    backends = prepare_backends(tmp_path)
    model, utils = backends / "onnxruntime" / "model.py", backends / "python" / "triton_python_backend_utils.py"
    model.write_text("old")
    before = utils.stat().st_ino
    prepare_backends(tmp_path)
    assert "class TritonPythonModel" in model.read_text()
    assert utils.stat().st_ino == before


def test_a_python_that_the_wheel_does_not_know_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("countline_local.triton.assembly._python_version", lambda: "3.99")
    monkeypatch.setattr("countline_local.triton.assembly._libpython_folder", lambda: Path("/"))
    with pytest.raises(TritonMissingError, match=r"no backend for Python 3\.99"):
        find_wheel()


def test_a_missing_libpython_is_said_with_the_package_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("countline_local.triton.assembly.sysconfig.get_config_var", lambda _: "/nowhere")
    monkeypatch.setattr("countline_local.triton.assembly.sys.base_prefix", "/nowhere")
    with pytest.raises(TritonMissingError, match="libpython3") as caught:
        find_wheel()
    assert caught.value.hint.startswith("apt install libpython3")
