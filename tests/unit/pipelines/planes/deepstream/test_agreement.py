"""Our facts and files against the double's, which were taken from the same sources by another hand."""

from pathlib import Path

import pytest
from tests.doubles.deepstream import infer_config, tracker_config
from tests.doubles.deepstream.facts import Facts

from countline_common.triton import ModelInfo
from countline_pipelines.planes.deepstream.config import facts, files, inference
from countline_pipelines.planes.deepstream.config.facts import Release
from countline_pipelines.planes.deepstream.config.properties import BoxPath, PipelineOptions
from countline_pipelines.planes.deepstream.config.tracker import TrackerKind

INFO = ModelInfo("people", 3, 384, 640, 100, ("person", "vehicle"), 0.45, 8, 1)
_TYPES = {bool: {"gboolean"}, str: {"gchararray"}, int: {"guint", "gint", "guint64", "enum"}}
_OURS = ("nvurisrcbin", "nvstreammux", "nvinferserver", "nvtracker", "nvvideoconvert")


@pytest.mark.parametrize("release", Release)
@pytest.mark.parametrize("element", _OURS)
def test_every_property_that_we_set_exists_with_our_type_and_within_its_range(release: Release, element: str) -> None:
    name = "nvstreammux_new" if element == "nvstreammux" else element
    theirs = Facts(release.value, doubtful=False).properties(name)
    for prop, row in facts.table(element, release).items():
        assert prop in theirs, f"{element}.{prop}"
        assert theirs[prop]["type"] in _TYPES[row.kind], f"{element}.{prop}"
        if row.choices:
            assert set(row.choices) <= {int(number) for number in theirs[prop]["enum"]}, f"{element}.{prop}"
        elif "range" in theirs[prop]:
            low, high = theirs[prop]["range"]
            assert low <= row.low <= row.high <= high, f"{element}.{prop}"


@pytest.mark.parametrize("boxes", BoxPath)
@pytest.mark.parametrize("kind", TrackerKind)
def test_the_files_are_taken_by_a_strict_reader(boxes: BoxPath, kind: TrackerKind, tmp_path: Path) -> None:
    options = PipelineOptions(Release.V8_0, boxes=boxes, tracker=kind, parser=tmp_path / "libcountline_parser.so")
    options.parser_library.touch()
    written = files.write_files(tmp_path, INFO, "127.0.0.1:9001", options)
    config = infer_config.load(written.inference)
    assert config.triton.model_name == "people"
    assert config.version == "3"
    assert config.wants_tensors is (boxes is BoxPath.PYTHON)
    assert config.infer.preprocess.symmetric_padding == 0
    if boxes is BoxPath.PARSER:
        assert config.labels() == ["person", "vehicle"]
        assert config.infer.postprocess.detection.custom_parse_bbox_func == inference.PARSE_FUNCTION
    sections = tracker_config.read_config(written.tracker)
    assert sections["TargetManagement"]["probationAge"] == 0
