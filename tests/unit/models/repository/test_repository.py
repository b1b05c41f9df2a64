"""Models in a Triton repository: what is written, and what is refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import text_format
from tests.fixtures.models.contract_models import marker_model
from tritonclient.grpc import model_config_pb2

from countline_common.errors import AlreadyExistsError, InvalidInputError
from countline_models.repository.adding import add_model
from countline_models.repository.prepare import model_name, prepare


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "marker.onnx"
    path.write_bytes(marker_model().SerializeToString())
    return path


def test_what_is_written_is_what_triton_reads(model: Path, tmp_path: Path) -> None:
    add_model(model, "marker", tmp_path / "repository")
    folder = tmp_path / "repository" / "marker"
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [
        "config.pbtxt",
        "labels.txt",
        "model.onnx",
    ]
    config = text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("marker", "onnxruntime", 8)
    assert list(config.input[0].dims) == [32, 48, 3]
    assert (list(config.output[0].dims), config.output[0].label_filename) == ([5, 6], "labels.txt")
    assert config.parameters["score_threshold"].string_value == "0.40"
    assert not config.instance_group, "what differs from machine to machine is no part of the repository"
    assert (folder / "labels.txt").read_text() == "person\nvehicle\n"


def test_the_same_model_gives_the_same_files(model: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        add_model(model, "marker", tmp_path / name)
    first, second = ((tmp_path / name / "marker" / "config.pbtxt").read_bytes() for name in ("first", "second"))
    assert first == second


def test_a_version_that_is_there_is_not_overwritten_unless_asked(model: Path, tmp_path: Path) -> None:
    add_model(model, "marker", tmp_path)
    with pytest.raises(AlreadyExistsError, match="version 1 of 'marker'"):
        add_model(model, "marker", tmp_path)
    add_model(model, "marker", tmp_path, replace=True)
    add_model(model, "marker", tmp_path, version=2)
    assert (tmp_path / "marker" / "2" / "model.onnx").is_file()


def test_a_model_of_another_kind_keeps_its_configuration(model: Path, tmp_path: Path) -> None:
    """`models add` and `models prepare` wrote theirs in its place, and Triton no longer served it."""
    config = tmp_path / "marker" / "config.pbtxt"
    config.parent.mkdir()
    config.write_text('name: "marker" backend: "python" max_batch_size: 4\n')
    with pytest.raises(AlreadyExistsError, match="is a model of another kind"):
        add_model(model, "marker", tmp_path, version=2)
    with pytest.raises(AlreadyExistsError, match="already exists"):
        prepare(model, tmp_path, None, None)
    assert config.read_text() == 'name: "marker" backend: "python" max_batch_size: 4\n'
    assert list(config.parent.iterdir()) == [config]


def test_a_further_version_leaves_what_was_tuned(model: Path, tmp_path: Path) -> None:
    add_model(model, "marker", tmp_path)
    config = tmp_path / "marker" / "config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size: 8", "max_batch_size: 32"))
    add_model(model, "marker", tmp_path, version=2)
    assert "max_batch_size: 32" in config.read_text()


def test_a_prepared_repository_is_not_replaced(model: Path, tmp_path: Path) -> None:
    prepare(model, tmp_path / "out", None, None)
    with pytest.raises(AlreadyExistsError, match="already exists"):
        prepare(model, tmp_path / "out", None, None)


@pytest.mark.parametrize("name", ["", "a b", "../up", "-dash", "x" * 64, "ä"])
def test_a_name_that_triton_or_a_file_system_would_not_take_is_refused(model: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot be the name of a model"):
        add_model(model, name, tmp_path)


def test_labels_that_do_not_fit_the_model_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="3 labels are given and the model has 2 classes"):
        add_model(model, "marker", tmp_path, labels=("a", "b", "c"))
    assert add_model(model, "marker", tmp_path, labels=("a", "b")).labels == ("a", "b")


def test_a_contract_model_is_prepared_as_it_is(model: Path, tmp_path: Path) -> None:
    prepared = prepare(model, tmp_path / "out", None, None)
    assert (prepared.name, prepared.head) == ("marker", "")
    assert (tmp_path / "out" / "marker" / "1" / "model.onnx").read_bytes() == model.read_bytes()


def test_a_network_in_its_place_in_the_repository_is_not_replaced_by_the_model_made_of_it(
    model: Path, tmp_path: Path
) -> None:
    """`prepare OUT/model/1/model.onnx --out OUT` put the fused model in place of the network."""
    network = tmp_path / "out" / "model" / "1" / "model.onnx"
    network.parent.mkdir(parents=True)
    network.write_bytes(model.read_bytes())
    link = tmp_path / "model.onnx"
    link.symlink_to(network)
    for file in (network, link):
        with pytest.raises(InvalidInputError, match="it is a file that this command reads"):
            prepare(file, tmp_path / "out", None, None)
    assert network.read_bytes() == model.read_bytes()
    assert list((tmp_path / "out" / "model").iterdir()) == [network.parent]


@pytest.mark.parametrize(
    ("file", "name"),
    [("yolox_nano.onnx", "yolox_nano"), ("My net (v2).onnx", "My-net-v2"), ("...onnx", "model"), ("ä.onnx", "model")],
)
def test_a_model_is_called_after_its_file(file: str, name: str) -> None:
    assert model_name(Path("/models") / file) == name


def test_the_help_of_the_group_needs_no_onnx_runtime() -> None:
    """`countline models --help` stays quick: the heavy imports wait for a command."""
    code = "import sys, countline_demo.cli.app; print({'onnx', 'onnxruntime', 'torch'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert result.stdout.strip() == "set()"
