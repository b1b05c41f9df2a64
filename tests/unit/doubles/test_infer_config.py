"""What the double of nvinferserver takes as its configuration, and what it refuses."""

from pathlib import Path

import pytest
from tests.doubles.deepstream.infer_config import InferConfigError, load

PREPROCESS = """preprocess {
    network_format: IMAGE_FORMAT_RGB tensor_order: TENSOR_ORDER_NHWC maintain_aspect_ratio: 1
    normalize { scale_factor: 1.0 channel_offsets: [0, 0, 0] } }"""
GOOD = (
    """
# a remark
infer_config {
  unique_id: 1 gpu_ids: [0] max_batch_size: 8
  backend { triton { model_name: "detector" version: -1
    grpc { url: "127.0.0.1:8001" enable_cuda_buffer_sharing: false } } }
"""
    + PREPROCESS
    + """
  postprocess { other {} }
}
input_control { process_mode: PROCESS_MODE_FULL_FRAME interval: 0 }
output_control { output_tensor_meta: true
  detect_control { specific_class_filters { key: 2 value { roi_top_offset: 3 } } } }
"""
)

REFUSED = [
    ("an unknown field", "unique_id: 1", "unique_id: 1 batch_size: 4", "batch_size"),
    ("the corrected spelling of a field that is misspelt", "postprocess",
     "extra { custom_process_function: 'x' } postprocess", "custom_process_function"),
    ("grpc and model_repo", "grpc {", "model_repo { root: 'x' } grpc {", "oneof|another member"),
    ("triton and its old name", "backend {", "backend { trt_is { model_name: 'x' }", "oneof|another member"),
    ("a word where a number is due", "max_batch_size: 8", "max_batch_size: many", "max_batch_size|integer"),
    ("an unknown member of an enum", "IMAGE_FORMAT_RGB", "IMAGE_FORMAT_YUV", "IMAGE_FORMAT_YUV"),
    ("true where a flag is a number", "maintain_aspect_ratio: 1", "maintain_aspect_ratio: true", "integer|true"),
    ("no name of a model", 'model_name: "detector"', "", "model_name is missing"),
    ("no address", 'url: "127.0.0.1:8001"', "", "url is missing"),
    ("a model repository in the process", 'grpc { url: "127.0.0.1:8001" enable_cuda_buffer_sharing: false }',
     "model_repo { root: 'x' }", "grpc is missing"),
    ("two graphics cards", "gpu_ids: [0]", "gpu_ids: [0, 1]", "more than one"),
    ("no preprocessing", PREPROCESS, "", "preprocess is missing"),
    ("tensors of a plugin that is not there", PREPROCESS, "input_tensor_from_meta { }", "nvdspreprocess"),
    ("raw output that is not attached", "output_tensor_meta: true", "output_tensor_meta: false", "output_tensor_meta"),
    ("a parser without its library", "other {}", "detection { num_detected_classes: 2 custom_parse_bbox_func: 'F' }",
     "custom_lib"),
    ("a detector without classes", "other {}", "detection { custom_parse_bbox_func: 'F' }", "num_detected_classes"),
    ("no parser for a contract model", "other {}", "detection { num_detected_classes: 2 }", "built-in parser"),
    ("classification", "other {}", "classification { threshold: 0.5 }", "classification"),
    ("labels that are not there", "postprocess {", "postprocess { labelfile_path: 'none.txt'", "does not exist"),
    ("buffers shared with another machine", "enable_cuda_buffer_sharing: false", "enable_cuda_buffer_sharing: true",
     "same GPU"),
    ("braces that do not close", "output_control {", "output_control { {", "."),
]  # fmt: skip


def write(folder: Path, text: str) -> Path:
    path = folder / "config.txt"
    path.write_text(text)
    return path


def test_a_good_file_is_read(tmp_path):
    config = load(write(tmp_path, GOOD))
    assert (config.triton.model_name, config.version, config.max_batch_size) == ("detector", "", 8)
    assert config.wants_tensors
    assert config.message.output_control.detect_control.specific_class_filters[2].roi_top_offset == 3


def test_the_old_name_of_triton_still_works(tmp_path):
    assert load(write(tmp_path, GOOD.replace("triton {", "trt_is {"))).triton.model_name == "detector"


def test_the_misspelt_field_is_called_as_it_is_misspelt(tmp_path):
    text = GOOD.replace("postprocess", "extra { custom_process_funcion: 'create' } postprocess")
    assert load(write(tmp_path, text)).infer.extra.custom_process_funcion == "create"


def test_a_version_above_zero_is_asked_for(tmp_path):
    assert load(write(tmp_path, GOOD.replace("version: -1", "version: 3"))).version == "3"


@pytest.mark.parametrize(("old", "new", "reason"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_bad_file_is_refused(tmp_path, old, new, reason):
    assert old in GOOD
    with pytest.raises(InferConfigError, match=reason):
        load(write(tmp_path, GOOD.replace(old, new)))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InferConfigError, match="failed to parse"):
        load(tmp_path / "none.txt")
