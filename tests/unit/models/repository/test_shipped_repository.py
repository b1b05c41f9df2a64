"""The model repository that is shipped: any Triton can load it, and every model in it obeys the contract."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tests.fixtures.repository import REPOSITORY
from tritonclient.grpc import model_config_pb2

from countline_models.contract import check_contract
from countline_models.repository.config import config_text

REPOSITORY = REPOSITORY / "triton-repo"
SHIPPED = sorted(path.parent for path in REPOSITORY.glob("*/config.pbtxt"))
BACKENDS = {"onnxruntime", "tensorrt"}


def name(folder: Path) -> str:
    return folder.name


def test_every_folder_is_a_model() -> None:
    """Triton takes every folder of a repository for a model, so nothing else may lie there."""
    assert {path for path in REPOSITORY.iterdir() if path.is_dir()} == set(SHIPPED)


@pytest.mark.parametrize("folder", SHIPPED, ids=name)
def test_nothing_in_the_configuration_is_of_one_machine(folder: Path) -> None:
    config = text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert config.backend in BACKENDS
    assert config.name == folder.name
    assert not config.instance_group
    assert set(config.parameters) == {"score_threshold"}


@pytest.mark.parametrize("folder", SHIPPED, ids=name)
def test_the_model_obeys_the_contract_and_the_configuration_says_what_it_is(folder: Path) -> None:
    contract = check_contract(folder / "1" / "model.onnx")
    labels = (folder / "labels.txt").read_text().split("\n")
    assert labels == [*contract.labels, ""]
    assert (folder / "config.pbtxt").read_text() == config_text(folder.name, contract)


@pytest.mark.parametrize("folder", SHIPPED, ids=name)
def test_the_model_is_small_enough_to_lie_in_the_repository(folder: Path) -> None:
    assert (folder / "1" / "model.onnx").stat().st_size <= 2 * 1024 * 1024
