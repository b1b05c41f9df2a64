"""The files that are written for nvinferserver, nvtracker and nvstreammux: their text, and read back."""

from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from tests.fixtures.repository import REPOSITORY

from countline_common.errors import InvalidInputError
from countline_common.triton import ModelInfo, ModelRefusedError
from countline_counting.rules import OBJECT_UNSEEN_S
from countline_pipelines.planes.deepstream.config import inference, proto, tracker
from countline_pipelines.planes.deepstream.config.facts import Release
from countline_pipelines.planes.deepstream.config.properties import BoxPath, PipelineOptions, mux_config
from countline_pipelines.planes.deepstream.config.tracker import TrackerKind

INFO = ModelInfo("people", 3, 384, 640, 100, ("person", "vehicle"), 0.45, 8, 1)
BY_PARSER = """\
infer_config {
  unique_id: 1
  gpu_ids: 0
  max_batch_size: 4
  backend {
    triton {
      model_name: "people"
      version: 3
      grpc {
        url: "triton:8001"
        enable_cuda_buffer_sharing: true
      }
    }
  }
  preprocess {
    network_format: IMAGE_FORMAT_RGB
    tensor_order: TENSOR_ORDER_NHWC
    tensor_name: "frames"
    maintain_aspect_ratio: 1
    frame_scaling_filter: 1
    normalize {
      scale_factor: 1.0
      channel_offsets: 0.0
      channel_offsets: 0.0
      channel_offsets: 0.0
    }
  }
  postprocess {
    labelfile_path: "labels.txt"
    detection {
      num_detected_classes: 2
      custom_parse_bbox_func: "NvDsInferParseCountline"
      nms {
        confidence_threshold: 0.1
        iou_threshold: 1.0
        topk: 100
      }
    }
  }
  custom_lib {
    path: "/opt/countline/libcountline_parser.so"
  }
}
input_control {
  process_mode: PROCESS_MODE_FULL_FRAME
  interval: 0
}
output_control {
}
"""


def options(**changed: object) -> PipelineOptions:
    return PipelineOptions(Release.V7_1, parser=Path("/opt/countline/libcountline_parser.so"), **changed)


def test_the_inference_file_of_the_parser() -> None:
    text = inference.infer_config(INFO, "triton:8001", options(capacity=4, share_cuda_buffers=True))
    assert text == BY_PARSER


def test_the_inference_file_of_the_python_way_asks_for_tensors_and_names_no_library() -> None:
    text = inference.infer_config(INFO, "triton:8001", options(boxes=BoxPath.PYTHON))
    found = json_format.MessageToDict(proto.read(text), preserving_proto_field_name=True)
    assert found["output_control"] == {"output_tensor_meta": True}
    assert found["infer_config"]["postprocess"] == {"other": {"type_name": "countline"}}
    assert "custom_lib" not in found["infer_config"]


def test_the_inference_file_reads_back_as_what_was_meant() -> None:
    found = json_format.MessageToDict(proto.read(BY_PARSER), preserving_proto_field_name=True)["infer_config"]
    assert found["backend"]["triton"]["model_name"] == "people"
    assert int(found["backend"]["triton"]["version"]) == 3
    assert "symmetric_padding" not in found["preprocess"], "0: the picture lies at the top left"
    assert found["preprocess"]["maintain_aspect_ratio"] == 1


@pytest.mark.parametrize(
    "values",
    [
        {"infer_config": {"model_name": "people"}},
        {"infer_config": {"backend": {"triton": {"grpc": {"timeout": 3}}}}},
        {"input_control": {"batch_size": 3}},
        {"infer_config": {"preprocess": {"tensor_order": "TENSOR_ORDER_NCHW"}}},
        {"infer_config": {"unique_id": "one"}},
    ],
)
def test_a_field_that_the_plugin_does_not_have_is_refused(values: dict) -> None:
    with pytest.raises(InvalidInputError):
        proto.plugin_control(values)


def test_a_file_with_an_unknown_field_does_not_read() -> None:
    with pytest.raises(InvalidInputError, match="max_batchsize"):
        proto.read("infer_config { max_batchsize: 3 }")


@pytest.mark.parametrize(
    ("address", "machine", "possible"),
    [
        ("127.0.0.1:9001", "x86_64", True),
        ("localhost:9001", "x86_64", True),
        ("[::1]:9001", "x86_64", True),
        ("triton:8001", "x86_64", False),
        ("127.0.0.1:9001", "aarch64", False),
    ],
)
def test_cuda_memory_is_shared_on_one_machine_of_the_right_kind_alone(address, machine, possible) -> None:
    assert (inference.sharing_problem(address, machine) == "") is possible


def test_a_model_is_known_by_its_config_pbtxt(shipped_config: str) -> None:
    info = inference.info_of_pbtxt(shipped_config, 2, ("person",))
    assert (info.name, info.version, info.height, info.width) == ("demo_detector", 2, 384, 640)
    assert info.score_threshold == pytest.approx(0.45)
    with pytest.raises(ModelRefusedError, match="TYPE_UINT8"):
        inference.info_of_pbtxt(shipped_config.replace("TYPE_UINT8", "TYPE_FP32"), 2)
    with pytest.raises(InvalidInputError, match=r"config\.pbtxt"):
        inference.info_of_pbtxt("nonsense", 2)


@pytest.fixture
def shipped_config() -> str:
    return (REPOSITORY / "triton-repo" / "demo_detector" / "config.pbtxt").read_text()


@pytest.mark.parametrize("kind", TrackerKind)
def test_no_track_is_held_back_nor_forgotten_before_an_unseen_id_is_a_new_object(kind: TrackerKind) -> None:
    text = tracker.tracker_config(kind, 0.45, frame_rate=12.5)
    targets = tracker.read(text)["TargetManagement"]
    assert targets["probationAge"] == 0
    assert targets["maxShadowTrackingAge"] >= OBJECT_UNSEEN_S * 12.5
    assert targets["earlyTerminationAge"] < targets["maxShadowTrackingAge"]
    assert tracker.read(text)["BaseConfig"]["minDetectorConfidence"] < 0.45


@pytest.mark.parametrize("kind", TrackerKind)
def test_the_trackers_file_has_opencvs_first_line_and_reads_back(kind: TrackerKind) -> None:
    text = tracker.tracker_config(kind, 0.45, 30)
    first, _, rest = text.partition("\n")
    assert first == "%YAML:1.0"
    sections = yaml.safe_load(rest)
    assert ("VisualTracker" in sections) is (kind is TrackerKind.NVDCF)
    assert sections["StateEstimator"]["stateEstimatorType"] == {"iou": 0, "nvsort": 2, "nvdcf": 1}[kind.value]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("probationAge", "probation", "probation"),
        ("%YAML:1.0", "%YAML 1.1", "must begin"),
        ("featureFocusOffsetFactor_y", "featureFocusOffsetFactorY", "featureFocusOffsetFactorY"),
    ],
)
def test_a_key_that_the_tracker_would_pass_over_is_refused(old: str, new: str, words: str) -> None:
    text = tracker.tracker_config(TrackerKind.NVDCF, 0.45, 30)
    with pytest.raises(InvalidInputError, match=words):
        tracker.read(text.replace(old, new))


def test_the_muxers_file_bounds_the_wait_by_the_frame_rate() -> None:
    text = mux_config(options(capacity=12, frame_rate=14.6))
    assert text.splitlines()[0] == "[property]"
    assert {"batch-size=12", "overall-min-fps-n=15", "max-same-source-frames=1"} <= set(text.splitlines())
