"""What is known of networks that can be pulled: every entry says where its digest was read, and fits a head of ours."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from countline_common.errors import InvalidInputError, NotFoundError
from countline_models.cli.app import app
from countline_models.heads import head_named
from countline_models.labels import COCO_LABELS
from countline_models.pull.manifest import KnownModel, read_manifest, shipped_manifest

SHIPPED = shipped_manifest().models
RUNNER = CliRunner()


@pytest.mark.parametrize("model", SHIPPED, ids=lambda model: model.name)
def test_a_network_that_is_shipped_names_its_origin(model: KnownModel) -> None:
    assert model.licence == "Apache-2.0"
    assert model.licence_address is not None
    assert {address.scheme for address in model.addresses} == {"https"}
    assert all(len(source.commit) == 40 for source in model.digest_from)
    assert model.class_names == COCO_LABELS
    assert head_named(model.head).name == model.head
    assert model.width % 32 == model.height % 32 == 0


def test_no_two_networks_share_a_name_or_a_file() -> None:
    assert len({model.name for model in SHIPPED}) == len(SHIPPED)
    assert len({model.sha256 for model in SHIPPED}) == len(SHIPPED)


def test_the_list_is_for_people_and_for_programs() -> None:
    table = RUNNER.invoke(app, ["pull", "--list"])
    assert table.exit_code == 0
    assert all(model.name in table.stdout for model in SHIPPED)
    listed = RUNNER.invoke(app, ["pull", "--list", "--json"])
    assert [entry["sha256"] for entry in json.loads(listed.stdout)["models"]] == [model.sha256 for model in SHIPPED]


def test_a_network_that_is_not_known_is_answered_with_those_that_are() -> None:
    with pytest.raises(NotFoundError) as caught:
        shipped_manifest().named("yolo_nas")
    assert "yolox_nano" in caught.value.hint


def test_without_a_name_the_hint_is_the_list() -> None:
    with pytest.raises(InvalidInputError) as caught:
        RUNNER.invoke(app, ["pull"], catch_exceptions=False)
    assert "--list" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sha256": "c7"}, "models.0.sha256"),
        ({"size_bytes": 0}, "models.0.size_bytes"),
        ({"addresses": []}, "models.0.addresses"),
        ({"addresses": ["ftp://example.org/x"]}, "models.0.addresses.0"),
        ({"digest_from": []}, "models.0.digest_from"),
        ({"name": "../x"}, "models.0.name"),
        ({"colour": "red"}, "models.0.colour"),
    ],
)
def test_a_manifest_with_a_mistake_names_the_field(tmp_path: Path, changes: dict, field: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"models": [{**SHIPPED[0].model_dump(mode="json"), **changes}]}))
    with pytest.raises(InvalidInputError) as caught:
        read_manifest(path)
    assert field in {problem.field for problem in caught.value.fields}


def test_a_manifest_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_manifest(tmp_path / "none.json")
