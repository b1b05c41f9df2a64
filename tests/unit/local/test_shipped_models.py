"""Shipped models are copied where Triton serves from."""

from pathlib import Path

from countline_local.triton.shipped_models import copy_shipped


def model(folder: Path, name: str, content: str) -> None:
    (folder / name / "1").mkdir(parents=True)
    (folder / name / "config.pbtxt").write_text(f"name: {name!r}")
    (folder / name / "1" / "model.onnx").write_text(content)


def test_models_are_copied_once_and_again_where_they_changed(tmp_path: Path) -> None:
    source, target = tmp_path / "shipped", tmp_path / "served"
    model(source, "a", "one")
    model(source, "b", "one")
    (source / ".gitkeep").touch()
    assert copy_shipped(source, target) == ["a", "b"]
    assert copy_shipped(source, target) == []
    (source / "b" / "1" / "model.onnx").write_text("two")
    assert copy_shipped(source, target) == ["b"]
    assert (target / "b" / "1" / "model.onnx").read_text() == "two"
    assert sorted(path.name for path in target.iterdir()) == ["a", "b"]


def test_models_that_were_deployed_beside_them_are_not_touched(tmp_path: Path) -> None:
    source, target = tmp_path / "shipped", tmp_path / "served"
    model(source, "a", "one")
    model(target, "own", "mine")
    copy_shipped(source, target)
    assert (target / "own" / "1" / "model.onnx").read_text() == "mine"


def test_a_copy_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    source, target = tmp_path / "shipped", tmp_path / "served"
    model(source, "a", "one")
    model(target, ".new-0123456789ab", "half")
    (target / "a").mkdir(parents=True)
    assert copy_shipped(source, target) == ["a"]
    assert (target / "a" / "1" / "model.onnx").read_text() == "one"
    assert [path.name for path in target.iterdir()] == ["a"]


def test_a_model_with_versions_of_somebodys_own_is_left_alone(tmp_path: Path) -> None:
    """Once, every start would have put the shipped folder over it, and deleted what was deployed."""
    shipped, served = tmp_path / "shipped", tmp_path / "served"
    for folder in (shipped / "demo" / "1", served / "demo" / "1", served / "demo" / "2"):
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_text(str(folder))
    (shipped / "demo" / "config.pbtxt").write_text('name: "demo"')
    own = 'name: "demo"\nversion_policy { specific { versions: [ 1, 2 ] } }'
    (served / "demo" / "config.pbtxt").write_text(own)
    assert copy_shipped(shipped, served) == []
    assert (served / "demo" / "config.pbtxt").read_text() == own
    assert (served / "demo" / "2" / "model.onnx").is_file()
