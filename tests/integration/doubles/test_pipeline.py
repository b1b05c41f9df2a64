"""Right pipelines through the double: real video, a real Triton, and tracked objects at the end."""

import ctypes
import json
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.doubles.deepstream import native
from tests.doubles.deepstream.facts import tables
from tests.doubles.deepstream.parser_library import compile_library
from tests.doubles.deepstream.structs import UseAfterReleaseError
from tests.fixtures.clips import BLOB_SIZE_WH, FPS, HEIGHT, WIDTH, Pass, render
from tests.fixtures.doubles.rig import LIBRARY, frames, main_loop, on_batches, rig, tensor_config, tracker_config
from tests.fixtures.repository import REPOSITORY

from countline_common.triton.access import secret_headers

MUX = {"batch_size": 4}
PARSER = """
#include "nvdsinfer_custom_impl.h"
extern "C" bool ParseBlobs(std::vector<NvDsInferLayerInfo> const &layers, NvDsInferNetworkInfo const &,
                           NvDsInferParseDetectionParams const &params,
                           std::vector<NvDsInferObjectDetectionInfo> &found) {
  const float *rows = static_cast<const float *>(layers[0].buffer);
  for (unsigned int i = 0; i < layers[0].inferDims.d[0]; ++i, rows += 6) {
    if (rows[4] < params.perClassPreclusterThreshold[0]) continue;
    NvDsInferObjectDetectionInfo object = {};
    object.classId = static_cast<unsigned int>(rows[5]);
    object.left = rows[0]; object.top = rows[1];
    object.width = rows[2] - rows[0]; object.height = rows[3] - rows[1];
    object.detectionConfidence = rows[4];
    found.push_back(object);
  }
  return true;
}
CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(ParseBlobs);
"""
PARSED = """
infer_config {{
  unique_id: 5 max_batch_size: 4
  backend {{ triton {{ model_name: "blob" version: -1 grpc {{ url: "{url}" }} }} }}
  preprocess {{ network_format: IMAGE_FORMAT_RGB tensor_order: TENSOR_ORDER_NHWC maintain_aspect_ratio: 1
    symmetric_padding: {symmetric} normalize {{ scale_factor: 1.0 }} }}
  postprocess {{ labelfile_path: "labels.txt" detection {{ num_detected_classes: 3
    custom_parse_bbox_func: "ParseBlobs" per_class_params {{ key: 0 value {{ pre_threshold: 0.5 }} }} }} }}
  custom_lib {{ path: "parser.so" }}
}}
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return render(tmp_path_factory.mktemp("clips") / "clip.mp4", [Pass(True)])


def decode_in_probe(buffer: Any) -> None:
    """What a program without a C++ parser does behind nvinferserver."""
    import pyds

    meta = pyds.gst_buffer_get_nvds_batch_meta(hash(buffer))
    for frame in frames(buffer):
        user = pyds.NvDsUserMeta.cast(frame.frame_user_meta_list.data)
        assert user.base_meta.meta_type == pyds.NvDsMetaType.NVDSINFER_TENSOR_OUTPUT_META
        tensor = pyds.NvDsInferTensorMeta.cast(user.user_meta_data)
        layer = pyds.get_nvds_LayerInfo(tensor, 0)
        shape = tuple(layer.inferDims.d[: layer.inferDims.numDims])
        address = ctypes.cast(pyds.get_ptr(layer.buffer), ctypes.POINTER(ctypes.c_float))
        scale = HEIGHT / tensor.network_info.height  # the picture fills the input's height
        for row in np.ctypeslib.as_array(address, shape=shape):
            if row[4] > 0.5:
                add_object(pyds, meta, frame, row, scale)
        frame.bInferDone = 1


def add_object(pyds: Any, meta: Any, frame: Any, row: np.ndarray, scale: float) -> None:
    one = pyds.nvds_acquire_obj_meta_from_pool(meta)
    one.unique_component_id, one.class_id, one.confidence = 1, int(row[5]), row[4]
    one.object_id = 2**64 - 1
    box = one.rect_params
    box.left, box.top = row[0] * scale, row[1] * scale
    box.width, box.height = (row[2] - row[0]) * scale, (row[3] - row[1]) * scale
    pyds.nvds_add_obj_meta_to_frame(frame, one, None)


def objects(frame: Any) -> list[tuple[int, int, float, float]]:
    """object_id, class_id, left and confidence of each object."""
    import pyds

    found = []
    node = frame.obj_meta_list
    while node is not None:
        one = pyds.NvDsObjectMeta.cast(node.data)
        found.append((one.object_id, one.class_id, one.rect_params.left, one.confidence))
        node = node.next
    return found


class Seen:
    """Frames at a pad, copied out of their metadata."""

    def __init__(self, pad: Any) -> None:
        self.batches: list[list[int]] = []
        self.frame_numbers: dict[int, list[int]] = defaultdict(list)
        self.pts: dict[int, list[int]] = defaultdict(list)
        self.objects: list[tuple[int, int, float, float]] = []
        self.sizes: set[tuple[int, int]] = set()
        on_batches(pad, self._look)

    def _look(self, buffer: Any) -> None:
        self.batches.append([])
        for frame in frames(buffer):
            self.batches[-1].append(frame.pad_index)
            self.frame_numbers[frame.pad_index].append(frame.frame_num)
            self.pts[frame.pad_index].append(frame.buf_pts)
            self.sizes.add((frame.source_frame_width, frame.source_frame_height))
            self.objects += objects(frame)


@pytest.mark.parametrize("deepstream_double", ["7.1", "8.0"], indirect=True)
def test_objects_of_a_real_model_come_out_tracked(deepstream_double, blob_triton, clip, tmp_path):
    with rig(deepstream_double) as made:
        infer = made.make("nvinferserver", config_file_path=str(tensor_config(tmp_path, blob_triton)))
        tracker = made.make("nvtracker", ll_lib_file=LIBRARY, ll_config_file=str(tracker_config(tmp_path)))
        seen = Seen(made.chain(infer, tracker, **MUX))
        on_batches(infer.get_static_pad("src"), decode_in_probe)
        made.source(0, clip.as_uri())
        made.run()
    assert seen.frame_numbers[0] == list(range(2 * FPS + 10))
    assert {(one[0], one[1]) for one in seen.objects} == {(0, 0)}
    assert len(seen.objects) == 2 * FPS - 2  # two frames of probation
    lefts = [one[2] for one in seen.objects]
    assert lefts == sorted(lefts)
    assert lefts[-1] > 0.8 * WIDTH


@pytest.mark.skipif(shutil.which("g++") is None, reason="a parser in C++ needs g++: apt-get install g++")
@pytest.mark.parametrize("symmetric", [0, 1])
def test_a_parser_in_c_finds_the_boxes_in_the_muxers_space(deepstream_double, blob_triton, tmp_path, symmetric):
    """The picture is taller than the model's input, so there is padding left and right, or right alone."""
    tall = render(tmp_path / "tall.mp4", [Pass(True)], size=(160, 240))
    (tmp_path / "parser.cpp").write_text(PARSER)
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    compile_library(tmp_path / "parser.cpp", tmp_path / "parser.so")
    (tmp_path / "infer.txt").write_text(PARSED.format(url=blob_triton, symmetric=symmetric))
    with rig(deepstream_double) as made:
        infer = made.make("nvinferserver", config_file_path=str(tmp_path / "infer.txt"))
        seen = Seen(made.chain(infer, batch_size=2))
        made.source(0, tall.as_uri())
        made.run()
    assert len(seen.objects) == 2 * FPS
    pixel = 240 / BLOB_SIZE_WH[1]
    assert seen.objects[0][2] == pytest.approx((160 - 20) * 0.5 / (2 * FPS), abs=1.5 * pixel)
    assert seen.objects[-1][2] == pytest.approx(140, abs=1.5 * pixel)
    assert {one[0] for one in seen.objects} == {2**64 - 1}


def test_objects_without_infer_done_are_not_tracked(deepstream_double, blob_triton, clip, tmp_path):
    def forgetful(buffer: Any) -> None:
        decode_in_probe(buffer)
        for frame in frames(buffer):
            frame.bInferDone = 0

    with rig(deepstream_double) as made:
        infer = made.make("nvinferserver", config_file_path=str(tensor_config(tmp_path, blob_triton)))
        tracker = made.make("nvtracker", ll_lib_file=LIBRARY, ll_config_file=str(tracker_config(tmp_path)))
        seen = Seen(made.chain(infer, tracker, **MUX))
        on_batches(infer.get_static_pad("src"), forgetful)
        made.source(0, clip.as_uri())
        made.run()
    assert {one[0] for one in seen.objects} == {2**64 - 1}


def test_an_interval_leaves_batches_out(deepstream_double, blob_triton, clip, tmp_path):
    counted = {"with": 0, "without": 0}

    def count(buffer: Any) -> None:
        for frame in frames(buffer):
            counted["without" if frame.frame_user_meta_list is None else "with"] += 1

    with rig(deepstream_double) as made:
        infer = made.make("nvinferserver", config_file_path=str(tensor_config(tmp_path, blob_triton, interval=1)))
        on_batches(made.chain(infer, batch_size=1), count)
        made.source(0, clip.as_uri())
        made.run()
    assert counted == {"with": 25, "without": 25}


def test_a_failed_inference_ends_the_pipeline(deepstream_double, own_triton, tmp_path):
    """The marker model fails on frames whose first pixel is red."""
    import tritonclient.grpc as triton_grpc

    server = own_triton()
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        client.load_model("marker", headers=secret_headers())
    red = render(tmp_path / "red.mp4", [Pass(True)], size=(48, 32))
    with rig(deepstream_double) as made:
        config = tensor_config(tmp_path, server.grpc, model="marker")
        infer = made.make("nvinferserver", config_file_path=str(config))
        made.chain(infer, batch_size=1)
        made.source(0, red.as_uri(), file_loop=False)
        on_batches(infer.get_static_pad("sink"), lambda _buffer: server.stop())
        made.play()
        assert "inference failed with unique-id:1" in made.first_error()
        assert not made.heard("eos")


def test_metadata_that_was_kept_cannot_be_read_after_the_probe(deepstream_double, clip):
    kept: list[Any] = []
    with rig(deepstream_double) as made:
        on_batches(made.chain(**MUX), lambda buffer: kept.extend(frames(buffer)))
        made.source(0, clip.as_uri())
        made.run()
        with pytest.raises(UseAfterReleaseError):
            _ = kept[0].pad_index


def test_pictures_are_converted_out_of_gpu_memory(deepstream_double, clip):
    """As a preview does: NV12 in GPU memory becomes RGBA in plain memory, and smaller."""
    pictures: list[np.ndarray] = []

    def keep(buffer: Any) -> None:
        data = buffer.extract_dup(0, buffer.get_size())
        pictures.append(np.frombuffer(data, np.uint8).reshape(60, 80, 4))

    with rig(deepstream_double) as made:
        convert = made.make("nvvideoconvert")
        caps = made.gst.Caps.from_string("video/x-raw, format=RGBA, width=80, height=60")
        sink = made.make("fakesink", sync=False)
        wanted = made.make("capsfilter", caps=caps)
        assert convert.link(wanted)
        assert wanted.link(sink)
        on_batches(sink.get_static_pad("sink"), keep)
        source = made.make("nvurisrcbin", uri=clip.as_uri())
        source.connect("pad-added", lambda _source, pad: pad.link(convert.get_static_pad("sink")))
        made.run()
    assert len(pictures) == 2 * FPS + 10
    middle = pictures[FPS]
    red = (middle[:, :, 0] > 128) & (middle[:, :, 1] < 100)
    assert red[30, 30:50].sum() == pytest.approx(10, abs=2)
    assert not red[5].any()


def test_pictures_of_a_batch_can_be_looked_at_as_rgba(deepstream_double, clip):
    import pyds

    reds: list[int] = []

    def look(buffer: Any) -> None:
        for frame in frames(buffer):
            rgba = pyds.get_nvds_buf_surface(hash(buffer), frame.batch_id)
            reds.append(int((rgba[:, :, 0] > 128).sum()))

    with rig(deepstream_double) as made:
        caps = made.gst.Caps.from_string("video/x-raw(memory:NVMM), format=RGBA")
        on_batches(made.chain(made.make("nvvideoconvert"), made.make("capsfilter", caps=caps), **MUX), look)
        made.source(0, clip.as_uri())
        made.run()
    assert reds[FPS] == pytest.approx(40 * 80, rel=0.1)


# --- the muxer


def test_the_muxer_leaves_pictures_of_every_size_as_they_are(deepstream_double, clip, tmp_path):
    tall = render(tmp_path / "tall.mp4", [Pass(True, seconds=0.5)], size=(160, 240))
    sizes: set[tuple[int, tuple[int, ...]]] = set()

    def look(buffer: Any) -> None:
        batch = deepstream_double.batches.find(hash(buffer))
        for frame, picture in zip(frames(buffer), batch.pictures, strict=True):
            sizes.add((frame.pad_index, (picture.width, picture.height)))

    with rig(deepstream_double) as made:
        on_batches(made.chain(batch_size=2), look)
        for number, source in enumerate((clip, tall)):
            made.source(number, source.as_uri())
        made.run()
    assert sizes == {(0, (WIDTH, HEIGHT)), (1, (160, 240))}


def test_a_batch_holds_one_frame_of_a_source(deepstream_double, clip):
    with rig(deepstream_double) as made:
        seen = Seen(made.chain(batch_size=4))
        for number in (3, 7):
            made.source(number, clip.as_uri())
        made.run()
    assert all(len(set(batch)) == len(batch) for batch in seen.batches)
    assert seen.frame_numbers[3] == seen.frame_numbers[7] == list(range(50))
    assert [3, 7] in [sorted(batch) for batch in seen.batches]


def test_pads_of_a_source_say_which_camera_it_is(deepstream_double, clip):
    with rig(deepstream_double) as made:
        seen = Seen(made.chain(**MUX))
        made.source(5, clip.as_uri())
        made.run()
    assert set(seen.frame_numbers) == {5}


def test_one_source_that_ends_is_reported_and_the_pipeline_goes_on(deepstream_double, tmp_path):
    short = render(tmp_path / "short.mp4", [Pass(True, seconds=0.5)])
    long = render(tmp_path / "long.mp4", [Pass(True, seconds=3)])
    with rig(deepstream_double) as made:
        seen = Seen(made.chain(**MUX))
        made.source(0, short.as_uri())
        made.source(1, long.as_uri())
        made.run()
        assert sorted(each.get_value("stream-id") for each in made.heard_element("stream-eos")) == [0, 1]
        assert len(made.heard("eos")) == 1
    assert (len(seen.frame_numbers[0]), len(seen.frame_numbers[1])) == (20, 70)


def test_the_last_end_is_kept_back_where_that_is_asked_for(deepstream_double, clip):
    with rig(deepstream_double) as made:
        made.chain(**MUX, drop_pipeline_eos=True)
        made.source(0, clip.as_uri())
        made.play()
        assert made.wait_for(lambda: bool(made.heard_element("stream-eos")))
        assert not made.wait_for(lambda: bool(made.heard("eos")), timeout_s=0.5)


@pytest.mark.parametrize(("timeout_us", "comes"), [(40_000, True), (1_800_000, False)])
def test_a_silent_source_holds_a_batch_up_for_as_long_as_the_muxer_waits(
    deepstream_double, clip, tmp_path, timeout_us, comes
):
    """The file allows two seconds between batches; the property, where the release has it, may be shorter."""
    (tmp_path / "mux.txt").write_text("[property]\noverall-min-fps-n=1\noverall-min-fps-d=2\n")
    with rig(deepstream_double) as made:
        config = {"config_file_path": str(tmp_path / "mux.txt"), "batched_push_timeout": timeout_us}
        seen = Seen(made.chain(batch_size=2, **config))
        made.source(0, clip.as_uri())
        made.mux.request_pad_simple("sink_1")
        made.play()
        assert made.wait_for(lambda: len(seen.frame_numbers[0]) > 4, timeout_s=20 if comes else 1) is comes


def test_releasing_a_pad_frees_the_others_and_tells_the_elements_behind(deepstream_double, clip):
    events: list[int] = []
    with rig(deepstream_double) as made:
        pad = made.chain(batch_size=2)
        seen = Seen(pad)
        note = lambda _pad, info: events.append(native.event_type_of(info.get_event())) or made.gst.PadProbeReturn.OK  # noqa: E731
        pad.add_probe(made.gst.PadProbeType.EVENT_DOWNSTREAM, note)
        made.source(0, clip.as_uri())
        silent = made.source(1, clip.as_uri(), file_loop=True)
        with main_loop():
            made.play()
            assert made.wait_for(lambda: bool(seen.frame_numbers[1]))
            silent.set_state(made.gst.State.NULL)
            held = made.mux.get_static_pad("sink_1")
            held.send_event(made.gst.Event.new_flush_stop(False))
            made.mux.release_request_pad(held)
            made.pipeline.remove(silent)
            del held, silent
            made.elements.pop("source-1")
            assert made.wait_for(lambda: bool(made.heard("eos")))
    numbers = tables()["events"]
    for name in ("PAD_ADDED", "PAD_DELETED", "STREAM_EOS"):
        assert numbers[f"GST_NVEVENT_{name}"] in events, name
    assert seen.frame_numbers[0] == list(range(50))


# --- the process


SCRIPT = """
import os
os.environ["USE_NEW_NVSTREAMMUX"] = "yes"
import gi
gi.require_version("Gst", "1.0")
from gi.repository import Gst
import pyds
Gst.init(None)
assert Gst.ElementFactory.make("nvstreammux").find_property("width") is None
assert Gst.ElementFactory.make("nvurisrcbin").find_property("select-rtp-protocol").default_value == 7
Gst.ElementFactory.make("nvtracker").set_property("tracking-id-reset-mode", 9)
raise SystemExit(3)
"""


def test_a_program_of_its_own_finds_deepstream_installed(deepstream_double, tmp_path):
    script, report = tmp_path / "program.py", tmp_path / "report.json"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "tests.doubles.deepstream", "--release", "8.0", "--report", str(report), "--"]
    done = subprocess.run(
        [*command, str(script)], cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3, done.stderr
    assert "out of range" in json.loads(report.read_text())["complaints"][0]


def test_countline_runs_in_the_launcher(deepstream_double):
    command = [sys.executable, "-m", "tests.doubles.deepstream", "--", "countline", "--help"]
    done = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "worker" in done.stdout


def test_nothing_of_the_double_is_left_where_it_is_not_installed(deepstream_double):
    from tests.doubles.deepstream import installed

    with installed("8.0"):
        import pyds

        assert hasattr(pyds.NvDsMetaType, "NVDS_FRAME_META_NVDSANALYTICS")
    assert not hasattr(sys.modules["pyds"].NvDsMetaType, "NVDS_FRAME_META_NVDSANALYTICS")
