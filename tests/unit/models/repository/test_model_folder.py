"""Triton's repository as a deployment changes it."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.fixtures.examples import rounds
from tests.fixtures.models.contract_models import marker_model

from countline_common.errors import AlreadyExistsError, InvalidInputError, NotFoundError, UnavailableError
from countline_models.bench.applying import tune_repository
from countline_models.bench.points import Setting
from countline_models.contract_model import ContractModel
from countline_models.deploy import ModelFolder, ModelTarget, Tuning
from countline_models.digests import file_digest
from countline_models.repository.adding import add_model
from countline_models.repository.parsing import parse_config

CONTRACT = ContractModel(32, 48, 5, ("person", "vehicle"), 0.4)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "net.onnx").write_bytes(marker_model().SerializeToString())
    return tmp_path / "net.onnx"


@pytest.fixture
def other_file(tmp_path: Path) -> Path:
    (tmp_path / "other.onnx").write_bytes(marker_model(32, 48, 5).SerializeToString() + b"\x1a\x00")
    return tmp_path / "other.onnx"


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return ModelFolder(tmp_path / "models")


def served(folder: ModelFolder, name: str) -> list[int]:
    return list(folder.config(name).version_policy.specific.versions)


def files(folder: ModelFolder) -> list[str]:
    return sorted(str(path.relative_to(folder.root)) for path in folder.root.rglob("*") if path.is_file())


def test_a_version_is_served_once_it_is_named(folder: ModelFolder, file: Path, other_file: Path) -> None:
    folder.write_version("gate", 1, file)
    assert folder.names() == [], "a file alone is no model"
    folder.serve("gate", [1], CONTRACT)
    folder.write_version("gate", 2, other_file)
    assert served(folder, "gate") == [1]
    folder.serve("gate", [2, 1], CONTRACT)
    assert served(folder, "gate") == [1, 2]
    found = folder.find("gate")
    assert (found.name, found.contract, found.served) == ("gate", CONTRACT, (1, 2))
    assert [(each.version, each.digest, each.size_bytes) for each in found.versions] == [
        (1, file_digest(file), file.stat().st_size),
        (2, file_digest(other_file), other_file.stat().st_size),
    ]
    assert folder.digest("gate", 2) == file_digest(other_file)
    assert folder.digest("gate", 3) is None
    assert files(folder) == ["gate/1/model.onnx", "gate/2/model.onnx", "gate/config.pbtxt", "gate/labels.txt"]


def test_what_is_served_is_never_changed_in_place(folder: ModelFolder, file: Path, other_file: Path) -> None:
    folder.write_version("gate", 1, file)
    folder.write_version("gate", 1, other_file)  # of a deployment that was broken off: nothing served it
    assert folder.digest("gate", 1) == file_digest(other_file)
    folder.serve("gate", [1], CONTRACT)
    folder.write_version("gate", 1, other_file)
    with pytest.raises(AlreadyExistsError, match="gate@1 is served, and is another model"):
        folder.write_version("gate", 1, file)
    assert folder.digest("gate", 1) == file_digest(other_file)


def test_a_version_without_a_file_cannot_be_served(folder: ModelFolder, file: Path) -> None:
    folder.write_version("gate", 1, file)
    with pytest.raises(NotFoundError, match="has no file of gate@2"):
        folder.serve("gate", [1, 2], CONTRACT)
    with pytest.raises(InvalidInputError, match="0 is not a version"):
        folder.write_version("gate", 0, file)


def test_a_retired_model_serves_nothing_and_is_still_found(folder: ModelFolder, file: Path) -> None:
    folder.write_version("gate", 1, file)
    folder.serve("gate", [], CONTRACT)
    config = folder.config("gate")
    assert config.version_policy.HasField("specific")
    assert served(folder, "gate") == []
    found = folder.find("gate")
    assert (found.served, [each.version for each in found.versions]) == ((), [1])


def test_all_versions_of_a_shipped_model_are_found_and_pinned_before_another_comes(
    folder: ModelFolder, file: Path, other_file: Path
) -> None:
    """A Triton that restarts between the new file and its configuration must not serve what was never tried."""
    add_model(file, "shipped", folder.root)
    add_model(file, "shipped", folder.root, version=2)
    assert not folder.config("shipped").HasField("version_policy")
    found = folder.find("shipped")
    assert (found.served, found.contract) == ((1, 2), CONTRACT)
    folder.write_version("shipped", 3, other_file)
    assert served(folder, "shipped") == [1, 2]
    assert folder.config("shipped").parameters["score_threshold"].string_value == "0.40"


def test_a_model_added_by_hand_joins_those_that_are_served(folder: ModelFolder, file: Path) -> None:
    folder.write_version("gate", 1, file)
    folder.serve("gate", [1], CONTRACT)
    add_model(file, "gate", folder.root, version=2)
    assert served(folder, "gate") == [1, 2]


def test_versions_and_models_are_removed(folder: ModelFolder, file: Path) -> None:
    for version in (1, 2):
        folder.write_version("gate", version, file)
    folder.serve("gate", [1], CONTRACT)
    folder.remove("gate", 2)
    folder.remove("gate", 7)
    assert files(folder) == ["gate/1/model.onnx", "gate/config.pbtxt", "gate/labels.txt"]
    folder.remove("gate")
    folder.remove("gate")
    assert list(folder.root.iterdir()) == []
    with pytest.raises(InvalidInputError):
        folder.remove("..")


def test_candidates_lie_beside_the_models_and_are_swept_up(folder: ModelFolder, file: Path) -> None:
    folder.write_version("gate", 1, file)
    folder.serve("gate", [1], CONTRACT)
    first, second, third = (folder.stage(file, CONTRACT) for _ in range(3))
    assert folder.names() == ["gate"]
    assert served(folder, first) == [1]
    folder.unstage(first)
    folder.unstage(first)
    (folder.root / ".new-abc" / "1").mkdir(parents=True)
    (folder.root / "gate" / ".new-def").write_text("half a configurat")
    (folder.root / "gate" / ".old-123").mkdir()
    assert folder.unstage_all() == sorted([second, third])
    assert sorted(path.name for path in folder.root.iterdir()) == ["gate"]
    assert sorted(path.name for path in (folder.root / "gate").iterdir()) == ["1", "config.pbtxt", "labels.txt"]
    with pytest.raises(InvalidInputError, match="'gate' is not a staged model"):
        folder.unstage("gate")


def test_a_candidate_for_a_gpu_says_so(folder: ModelFolder, file: Path) -> None:
    config = folder.config(folder.stage(file, CONTRACT, ModelTarget.GPU))
    assert config.optimization.execution_accelerators.gpu_execution_accelerator[0].name == "tensorrt"


def test_a_tuned_model_keeps_the_score_threshold_of_each_version(
    folder: ModelFolder, file: Path, other_file: Path
) -> None:
    folder.write_version("gate", 1, file)
    folder.write_version("gate", 2, other_file)
    folder.serve("gate", [1, 2], CONTRACT, thresholds={1: 0.4, 2: 0.25})
    tune_repository(folder.root, "gate", Setting(8, 2, max_queue_delay_us=300))
    assert folder.config("gate").max_batch_size == 8
    assert folder.find("gate").thresholds == {1: 0.4, 2: 0.25}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, file: Path) -> None:
    (tmp_path / "models").write_text("not a folder")
    with pytest.raises(UnavailableError, match=r"the model repository .*models cannot be changed") as caught:
        ModelFolder(tmp_path / "models").write_version("gate", 1, file)
    assert caught.value.hint


def test_a_configuration_that_cannot_be_read_is_named(folder: ModelFolder, file: Path) -> None:
    folder.write_version("gate", 1, file)
    folder.serve("gate", [1], CONTRACT)
    (folder.root / "gate" / "config.pbtxt").write_text("name: gate {")
    with pytest.raises(InvalidInputError, match=r"gate/config\.pbtxt is not a Triton configuration"):
        folder.find("gate")


WRITER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from countline_models.contract_model import ContractModel
    from countline_models.deploy import ModelFolder, Tuning

    folder, file = ModelFolder(Path(sys.argv[1])), Path(sys.argv[2])
    contract = ContractModel(32, 48, 5, ("person", "vehicle"), 0.4)
    print("ready", flush=True)
    for version in range(2, 10_000):
        folder.write_version("gate", version, file)
        folder.serve("gate", [1, version], contract, Tuning(instances=version % 7))
        folder.remove("gate", version - 1) if version > 2 else None
    """
)


def newest(model: Path) -> int:
    return max(int(path.name) for path in model.iterdir() if path.name.isdecimal())


@pytest.mark.fuzz
@pytest.mark.parametrize("steps", range(0, 6, rounds(2, 1)))
def test_a_writer_that_is_killed_leaves_a_folder_that_can_be_served(
    folder: ModelFolder, file: Path, tmp_path: Path, steps: int
) -> None:
    """At any moment, every version that is named has its whole file, and the labels are whole."""
    folder.write_version("gate", 1, file)
    folder.serve("gate", [1], CONTRACT)
    heavy = tmp_path / "heavy.onnx"
    heavy.write_bytes(file.read_bytes() + os.urandom(4 << 20))
    command = [sys.executable, "-c", WRITER, str(folder.root), str(heavy)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        while newest(folder.root / "gate") < 2 + steps:  # or later: a version is gone soon after the next one is there
            assert writer.poll() is None
        writer.send_signal(signal.SIGKILL)
    folder.unstage_all()
    config = parse_config((folder.root / "gate" / "config.pbtxt").read_text(), "config")
    versions = list(config.version_policy.specific.versions)
    assert versions[0] == 1
    assert all(folder.digest("gate", version) == file_digest(heavy) for version in versions[1:])
    assert (folder.root / "gate" / "labels.txt").read_text() == "person\nvehicle\n"
    folder.serve("gate", [1], CONTRACT, Tuning())
    assert not [path for path in files(folder) if "/." in path or path.startswith(".")]
