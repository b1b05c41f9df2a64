"""The cost of reading and writing metadata, on the double's pyds, which counts every call."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.doubles.deepstream import Installed, installed
from tests.doubles.deepstream.infer_config import load
from tests.doubles.deepstream.parser_library import BboxParser
from tests.fixtures.clips import BLOB_LABELS
from tests.fixtures.pipelines.deepstream_bench import deepstream_plane, plan
from tests.fixtures.triton import TritonServer

from countline_common.triton import ModelInfo
from countline_pipelines.planes.deepstream.cameras.coordinates import from_network
from countline_pipelines.planes.deepstream.cameras.metadata import Metadata
from countline_pipelines.planes.deepstream.config import files
from countline_pipelines.planes.deepstream.config.facts import UNTRACKED, Release
from countline_pipelines.planes.deepstream.config.properties import BoxPath, PipelineOptions

CALLS_PER_OBJECT = 11
"""One cast, three numbers, the rectangle, its four sides, and the two looks that a list asks for."""


def test_an_object_costs_eleven_calls_of_pyds(
    deepstream_double: Installed, blob_triton: TritonServer, parser_library: Path, clip: Path, tmp_path: Path
) -> None:
    with deepstream_plane(blob_triton.grpc, tmp_path, boxes=BoxPath.PARSER, parser=parser_library) as bench:
        bench.plane.add_camera(plan("cam", clip))
        bench.wait_ended("cam")
    calls = deepstream_double.ledger.pyds_calls
    objects = calls["NvDsObjectMeta.cast"]
    frames = calls["NvDsFrameMeta.cast"]
    assert frames == 200
    assert objects > 100
    of_lists = calls["GList.data"] + calls["GList.next"] - 2 * frames
    of_objects = sum(n for name, n in calls.items() if name.startswith(("NvDsObjectMeta.", "NvOSD_RectParams.")))
    assert of_objects + of_lists == CALLS_PER_OBJECT * objects
    assert sum(calls.values()) < CALLS_PER_OBJECT * objects + 12 * frames


def test_reading_a_batch_keeps_no_reference_to_it(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its memory goes back to a small pool: a reference to a buffer would stop the decoder."""
    held: list[tuple[int, int]] = []

    def watched(read: Callable[..., Any]) -> Callable[..., Any]:
        def call(metadata: Metadata, buffer: Any, *rest: Any) -> Any:
            before = buffer.mini_object.refcount, sys.getrefcount(buffer)
            found = read(metadata, buffer, *rest)
            after = buffer.mini_object.refcount, sys.getrefcount(buffer)
            held.append((after[0] - before[0], after[1] - before[1]))
            return found

        return call

    for name in ("tables", "add_objects"):
        monkeypatch.setattr(Metadata, name, watched(getattr(Metadata, name)))
    with deepstream_plane(blob_triton.grpc, tmp_path, boxes=BoxPath.PYTHON) as bench:
        bench.plane.add_camera(plan("cam", clip))
        bench.wait_ended("cam")
    assert len(held) == 400
    assert set(held) == {(0, 0)}
    assert deepstream_double.alive().buffers == 0


def test_lists_that_end_with_an_exception_are_read_too(blob_triton: TritonServer, clip: Path, tmp_path: Path) -> None:
    """NVIDIA's samples guard against both ends of a list."""
    pytest.importorskip("tests.doubles.deepstream")
    with installed("7.1", lists_stop=True), deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(plan("cam", clip))
        bench.wait_ended("cam")
    assert bench.recorder.in_out("cam") == (1, 3)


def frame_of(double: Installed, *objects: dict[str, object]) -> object:
    frame = double.pyds.make("NvDsFrameMeta", double.batches.new_life(), pad_index=2, buf_pts=5, ntp_timestamp=7)
    for values in objects:
        object_id = values.pop("object_id")
        double.pyds.add_object(frame, **values)._values["object_id"] = object_id
    return frame


def test_untracked_objects_are_left_out_and_ids_of_64_bits_stay_apart(deepstream_double: Installed) -> None:
    box = {"box": (10.0, 20.0, 30.0, 40.0), "class_id": 1, "obj_label": "", "unique_component_id": 1}
    ids = [UNTRACKED, 2**64 - 2, 2**63, 5]
    frame = frame_of(deepstream_double, *({**box, "confidence": 0.5, "object_id": object_id} for object_id in ids))
    table = Metadata(deepstream_double.pyds.module).table(frame)
    assert (table.index, table.pts_ns, table.ntp_ns) == (2, 5, 7)
    assert table.ids.view(np.uint64).tolist() == ids[1:]
    assert table.xyxy_px.tolist() == [[10.0, 20.0, 40.0, 60.0]] * 3
    assert table.classes.tolist() == [1, 1, 1]


def test_a_frame_without_objects_is_an_empty_table(deepstream_double: Installed) -> None:
    table = Metadata(deepstream_double.pyds.module).table(frame_of(deepstream_double))
    assert (table.ids.shape, table.xyxy_px.shape, table.scores.shape) == ((0,), (0, 4), (0,))


def random_answer(seed: int, rows: int = 100) -> np.ndarray:
    """Rows as a model may give them: sound ones, unused ones, upside down, outside, NaN."""
    noise = np.random.default_rng(seed)
    answer = np.zeros((rows, 6), np.float32)
    answer[:, :2] = noise.uniform(-50, 640, (rows, 2))
    answer[:, 2:4] = answer[:, :2] + noise.uniform(-30, 200, (rows, 2))
    answer[:, 4] = noise.choice([0.0, 0.15, 0.5, 0.99], rows)
    answer[:, 5] = noise.integers(0, 3, rows)
    answer[noise.random(rows) < 0.1, noise.integers(0, 6)] = np.nan
    return answer


@pytest.mark.parametrize("seed", range(20))
def test_the_parser_and_python_agree_on_any_answer(seed: int, parser_library: Path, tmp_path: Path) -> None:
    info = ModelInfo("blob", 1, 384, 640, 100, BLOB_LABELS, 0.4, 8, 1)
    options = PipelineOptions(Release.V7_1, parser=parser_library)
    parser = BboxParser.of(load(files.write_files(tmp_path, info, "127.0.0.1:9001", options).inference))
    assert parser is not None
    answer = random_answer(seed)
    by_parser = sorted(
        (found.class_id, found.score, *found.box) for found in parser.parse({"detections": answer}, (640, 384, 3))
    )
    by_python = sorted(
        (int(row[5]), row[4], *row[:4]) for row in from_network(answer, (640, 384), (640, 384)) if row[4] >= 0.1
    )
    assert len(by_parser) == len(by_python) > 10
    np.testing.assert_allclose(np.array(by_parser), np.array(by_python), atol=1e-3)


@pytest.mark.parametrize("shape", [(100, 5), (6,), (2, 100, 6)])
def test_the_parser_refuses_what_is_no_answer_of_the_contract(
    shape: tuple[int, ...], parser_library: Path, tmp_path: Path
) -> None:
    info = ModelInfo("blob", 1, 384, 640, 100, BLOB_LABELS, 0.4, 8, 1)
    options = PipelineOptions(Release.V7_1, parser=parser_library)
    parser = BboxParser.of(load(files.write_files(tmp_path, info, "127.0.0.1:9001", options).inference))
    assert parser is not None
    with pytest.raises(Exception, match="NvDsInferParseCountline failed"):
        parser.parse({"detections": np.ones(shape, np.float32)}, (640, 384, 3))
    with pytest.raises(Exception, match="NvDsInferParseCountline failed"):
        parser.parse({"boxes": np.ones((100, 6), np.float32)}, (640, 384, 3))
