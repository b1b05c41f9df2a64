"""nvinferserver's configuration for a model of the detection contract; pure.

The plugin scales each frame to the model's input and fills a batch. It can follow the contract in these points: RGB
bytes in the order height, width, channel (`TENSOR_ORDER_NHWC`, a scale of 1 and no offsets, so that values stay 0..255;
UINT8 is one of its tensor types, and it reads type and size from the model's configuration in Triton), one factor for
both directions, the picture at the top left. It pads with black instead of 114: the contract accepts that, and
deployment of a model measures the effect on boxes.

Boxes become objects on one of two paths (`BoxPath`). NMS is part of the model's graph, so the plugin's own NMS is set
to suppress nothing.
"""

from typing import Any, Final

from google.protobuf import json_format, text_format

from countline_common.errors import InvalidInputError
from countline_common.triton import ModelInfo
from countline_common.triton.model_config import INPUT_NAME, model_info
from countline_counting.tracking import TrackerSettings
from countline_pipelines.planes.deepstream.config import proto
from countline_pipelines.planes.deepstream.config.properties import INFER_ID, BoxPath, PipelineOptions

PARSE_FUNCTION: Final = "NvDsInferParseCountline"
BILINEAR: Final = 1
NO_SUPPRESSION: Final = 1.0
"""Intersection over union above which a box is suppressed; no two boxes exceed it."""
LABELS: Final = "labels.txt"
"""Beside the configuration: the plugin resolves relative paths from there."""


def infer_config(info: ModelInfo, triton: str, options: PipelineOptions) -> str:
    """The text of the configuration.

    Args:
        info: the model.
        triton: host:port of its gRPC service, without TLS, which the plugin does not support.
        options: of the pipeline.
    """
    by_parser = options.boxes is BoxPath.PARSER
    values: dict[str, Any] = {
        "infer_config": {
            "unique_id": INFER_ID,
            "gpu_ids": [options.gpu],
            "max_batch_size": min(info.max_batch_size, options.capacity),
            "backend": _backend(info, triton, share=options.share_cuda_buffers),
            "preprocess": _preprocess(),
            "postprocess": _postprocess(info) if by_parser else {"other": {"type_name": "countline"}},
        },
        "input_control": {"process_mode": "PROCESS_MODE_FULL_FRAME", "interval": 0},
        "output_control": {"output_tensor_meta": not by_parser},
    }
    if by_parser:
        values["infer_config"]["custom_lib"] = {"path": str(options.parser_library)}
    return proto.written(proto.plugin_control(values))


def _backend(info: ModelInfo, triton: str, *, share: bool) -> dict[str, Any]:
    grpc = {"url": triton, "enable_cuda_buffer_sharing": share}
    return {"triton": {"model_name": info.name, "version": info.version, "grpc": grpc}}


def _preprocess() -> dict[str, Any]:
    return {
        "network_format": "IMAGE_FORMAT_RGB",
        "tensor_order": "TENSOR_ORDER_NHWC",
        "tensor_name": INPUT_NAME,
        "maintain_aspect_ratio": 1,
        "symmetric_padding": 0,
        "frame_scaling_filter": BILINEAR,
        "normalize": {"scale_factor": 1.0, "channel_offsets": [0.0, 0.0, 0.0]},
    }


def _postprocess(info: ModelInfo) -> dict[str, Any]:
    nms = {
        "confidence_threshold": TrackerSettings().low_score,
        "iou_threshold": NO_SUPPRESSION,
        "topk": info.max_detections,
    }
    return {
        "labelfile_path": LABELS,
        "detection": {
            "num_detected_classes": max(1, len(info.labels)),
            "custom_parse_bbox_func": PARSE_FUNCTION,
            "nms": nms,
        },
    }


def sharing_problem(triton: str, machine: str) -> str:
    """Why CUDA memory cannot be shared with this Triton; empty if nothing speaks against it.

    Args:
        triton: host:port.
        machine: value of `platform.machine()`.
    """
    host = triton.rpartition(":")[0].strip("[]")
    if host not in {"localhost", "::1"} and not host.startswith("127."):
        return f"Triton at {triton} may be on another machine"
    return "" if machine == "x86_64" else f"{machine} cannot share CUDA memory between processes in this way"


def info_of_pbtxt(text: str, version: int, labels: tuple[str, ...] = ()) -> ModelInfo:
    """A model, from its config.pbtxt alone.

    Args:
        text: of the file.
        version: of the model.
        labels: class names.

    Raises:
        InvalidInputError: the text is no configuration.
        ModelRefusedError: the model does not follow the detection contract.
    """
    from tritonclient.grpc import model_config_pb2

    try:
        message = text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise InvalidInputError(f"this is no config.pbtxt: {error}", hint="name the config.pbtxt of a model") from error
    return model_info(json_format.MessageToDict(message, preserving_proto_field_name=True), version, labels)


def label_file(info: ModelInfo) -> str:
    """The label file: one class name a line; `object` for a model without class names."""
    return "".join(f"{label}\n" for label in info.labels or ("object",))
