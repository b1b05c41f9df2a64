"""The messages of nvinferserver's configuration, as far as this plane uses them.

The configuration is protobuf text of `PluginControl`. NVIDIA ships the .proto files in its SDK and in no package, so
the descriptors are made from the table below (names, numbers and oneofs as published). Protobuf then prints the text,
and protobuf's parser reads it back and refuses unknown fields, as the plugin does.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, text_format
from google.protobuf.message import Message

from countline_common.errors import InvalidInputError

PACKAGE: Final = "nvdsinferserver.config"
_Field = descriptor_pb2.FieldDescriptorProto

# name: (number, type, oneof). A type in capitals is an enumeration; "*" before a type means repeated.
_MESSAGES: Final[Mapping[str, Mapping[str, tuple[int, str, str]]]] = {
    "CustomLib": {"path": (1, "string", "")},
    "ScaleNormalize": {
        "scale_factor": (1, "float", ""),
        "channel_offsets": (2, "*float", ""),
    },
    "PreProcessParams": {
        "network_format": (1, "MEDIA_FORMAT", ""),
        "tensor_order": (2, "TENSOR_ORDER", ""),
        "tensor_name": (3, "string", ""),
        "maintain_aspect_ratio": (4, "int32", ""),
        "frame_scaling_filter": (6, "uint32", ""),
        "normalize": (7, "ScaleNormalize", "preprocess_method"),
        "symmetric_padding": (8, "int32", ""),
    },
    "Nms": {
        "confidence_threshold": (1, "float", ""),
        "iou_threshold": (2, "float", ""),
        "topk": (3, "int32", ""),
    },
    "DetectionParams": {
        "num_detected_classes": (1, "int32", ""),
        "custom_parse_bbox_func": (3, "string", ""),
        "nms": (4, "Nms", "clustering_policy"),
    },
    "OtherNetworkParams": {"type_name": (1, "string", "")},
    "PostProcessParams": {
        "labelfile_path": (1, "string", ""),
        "detection": (2, "DetectionParams", "process_type"),
        "other": (5, "OtherNetworkParams", "process_type"),
    },
    "TritonGrpcParams": {
        "url": (1, "string", ""),
        "enable_cuda_buffer_sharing": (2, "bool", ""),
    },
    "TritonParams": {
        "model_name": (1, "string", ""),
        "version": (2, "int64", ""),
        "grpc": (5, "TritonGrpcParams", "server"),
    },
    "BackendParams": {"triton": (4, "TritonParams", "infer_framework")},
    "InferenceConfig": {
        "unique_id": (1, "uint32", ""),
        "gpu_ids": (2, "*int32", ""),
        "max_batch_size": (3, "uint32", ""),
        "backend": (4, "BackendParams", ""),
        "preprocess": (5, "PreProcessParams", "preprocessing"),
        "postprocess": (6, "PostProcessParams", "postprocessing"),
        "custom_lib": (7, "CustomLib", ""),
    },
    "InputControl": {
        "process_mode": (1, "PROCESS_MODE", ""),
        "interval": (4, "uint32", "inference_interval"),
    },
    "OutputControl": {"output_tensor_meta": (1, "bool", "")},
    "PluginControl": {
        "infer_config": (1, "InferenceConfig", ""),
        "input_control": (2, "InputControl", ""),
        "output_control": (3, "OutputControl", ""),
    },
}

_ENUMS: Final[Mapping[str, tuple[str, ...]]] = {
    "MEDIA_FORMAT": ("MEDIA_FORMAT_NONE", "IMAGE_FORMAT_RGB", "IMAGE_FORMAT_BGR", "IMAGE_FORMAT_GRAY"),
    "TENSOR_ORDER": ("TENSOR_ORDER_NONE", "TENSOR_ORDER_LINEAR", "TENSOR_ORDER_NHWC"),
    "PROCESS_MODE": ("PROCESS_MODE_DEFAULT", "PROCESS_MODE_FULL_FRAME", "PROCESS_MODE_CLIP_OBJECTS"),
}

_SCALARS: Final = {
    "string": _Field.TYPE_STRING,
    "float": _Field.TYPE_FLOAT,
    "bool": _Field.TYPE_BOOL,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "uint32": _Field.TYPE_UINT32,
}


@cache
def _root() -> Any:
    """The class of `PluginControl`."""
    file = descriptor_pb2.FileDescriptorProto(name="nvinferserver.proto", package=PACKAGE, syntax="proto3")
    for name, values in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    for name, fields in _MESSAGES.items():
        _add_message(file.message_type.add(name=name), fields)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.PluginControl"))


def _add_message(message: descriptor_pb2.DescriptorProto, fields: Mapping[str, tuple[int, str, str]]) -> None:
    oneofs = list(dict.fromkeys(oneof for _, _, oneof in fields.values() if oneof))
    for oneof in oneofs:
        message.oneof_decl.add(name=oneof)
    for name, (number, stated, oneof) in fields.items():
        field = message.field.add(name=name, number=number)
        field.label = _Field.LABEL_REPEATED if stated.startswith("*") else _Field.LABEL_OPTIONAL
        kind = stated.removeprefix("*")
        if kind in _SCALARS:
            field.type = _SCALARS[kind]
        else:
            field.type = _Field.TYPE_ENUM if kind in _ENUMS else _Field.TYPE_MESSAGE
            field.type_name = f".{PACKAGE}.{kind}"
        if oneof:
            field.oneof_index = oneofs.index(oneof)


def plugin_control(values: Mapping[str, Any]) -> Message:
    """A `PluginControl` from nested names and values.

    Raises:
        InvalidInputError: a field does not exist, or does not accept its value.
    """
    try:
        message: Message = json_format.ParseDict(dict(values), _root()())
    except json_format.ParseError as error:
        raise InvalidInputError(
            f"nvinferserver's configuration: {error}", hint="check COUNTLINE_DEEPSTREAM_GPU and COUNTLINE_CAPACITY"
        ) from error
    return message


def written(message: Message) -> str:
    """The text that the plugin reads."""
    return text_format.MessageToString(message)


def read(text: str) -> Message:
    """Read a configuration.

    Raises:
        InvalidInputError: the text is no configuration, or has a field that this plane does not use.
    """
    try:
        message: Message = text_format.Parse(text, _root()())
    except text_format.ParseError as error:
        raise InvalidInputError(
            f"nvinferserver's configuration: {error}", hint="correct or remove this field"
        ) from error
    return message
