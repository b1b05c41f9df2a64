"""nvinferserver's configuration for a model of the detection contract; pure.

The plugin scales each frame to the model's input and fills a batch of it. Of the contract it can do: RGB bytes in the
order height, width, channel (`TENSOR_ORDER_NHWC`, a scale of 1 and no offsets, so that values stay 0..255; UINT8 is
among its tensor types, and type and size are taken from the model's configuration in Triton), one factor for both
directions, the picture at the top left. The rest is black, not 114: the contract accepts that, and deployment of a
model measures what it does to boxes.

Boxes come by one of two ways (`BoxPath`). NMS lies in the model's graph, so the plugin's own is set to suppress
nothing.
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
"""Intersection over union above which a box is suppressed: none has more."""
LABELS: Final = "labels.txt"
"""Beside the configuration: relative paths are looked up from there."""


def infer_config(info: ModelInfo, triton: str, options: PipelineOptions) -> str:
    """The text of the configuration.

    Args:
        info: the model, with the version that answers.
        triton: host:port of its gRPC service; plain text, which is all that the plugin speaks.
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
    """Why CUDA memory cannot be shared with this Triton; empty where it can, as far as names tell.

    Args:
        triton: its address.
        machine: as `platform.machine()` says it.
    """
    host = triton.rpartition(":")[0].strip("[]")
    if host not in {"localhost", "::1"} and not host.startswith("127."):
        return f"Triton at {triton} may be on another machine"
    return "" if machine == "x86_64" else f"{machine} cannot share CUDA memory between processes in this way"


def info_of_pbtxt(text: str, version: int, labels: tuple[str, ...] = ()) -> ModelInfo:
    """What a model's config.pbtxt says of it, for who has no Triton at hand.

    Raises:
        InvalidInputError: it is no configuration.
        ModelRefusedError: the model is not of the detection contract.
    """
    from tritonclient.grpc import model_config_pb2

    try:
        message = text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise InvalidInputError(f"this is no config.pbtxt: {error}", hint="name that of a model") from error
    return model_info(json_format.MessageToDict(message, preserving_proto_field_name=True), version, labels)


def label_file(info: ModelInfo) -> str:
    """One name a line; a model that names none has one class without a name of its own."""
    return "".join(f"{label}\n" for label in info.labels or ("object",))
