"""The configuration file of nvinferserver: protobuf text, read with message types made from the tables."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from tests.doubles.deepstream.facts import tables

_PACKAGE = "nvdsinferserver.config"
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    name: getattr(_Field, f"TYPE_{name.upper()}")
    for name in ("int32", "int64", "uint32", "uint64", "float", "bool", "string")
}


class InferConfigError(Exception):
    """The file cannot be loaded, or uses something that the plugin cannot do."""


@functools.cache
def message_types() -> Any:
    """The class of PluginControl."""
    file = descriptor_pb2.FileDescriptorProto(name="nvdsinferserver_double.proto", package=_PACKAGE, syntax="proto3")
    proto = tables()["proto"]
    placed = {name: _message(file, name) for name in _outer_first(proto["messages"])}
    for name, values in proto["enums"].items():
        _add_enum(file, placed, name, values)
    for name, fields in proto["messages"].items():
        for field, spec in fields.items():
            _add_field(placed[name], name, field, spec)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.PluginControl"))


def _outer_first(names: Any) -> list[str]:
    return sorted(names, key=lambda name: name.count("."))


def _message(file: Any, name: str) -> Any:
    """A new message; a name with a dot is nested in another message."""
    outer, _, inner = name.rpartition(".")
    if not outer:
        return file.message_type.add(name=name)
    parent = next((message for message in file.message_type if message.name == outer), None)
    return (parent or file.message_type.add(name=outer)).nested_type.add(name=inner)


def _add_enum(file: Any, placed: dict[str, Any], name: str, values: dict[str, int]) -> None:
    outer, _, inner = name.rpartition(".")
    made = (placed[outer] if outer else file).enum_type.add(name=inner)
    for value, number in values.items():
        made.value.add(name=value, number=number)


def _add_field(message: Any, owner: str, name: str, spec: dict[str, Any]) -> None:
    field = message.field.add(name=name, number=spec["number"], label=_Field.LABEL_OPTIONAL)
    if spec["type"].startswith("map<"):
        _make_map(message, owner, field, spec["type"])
        return
    if spec.get("label") == "repeated":
        field.label = _Field.LABEL_REPEATED
    if "oneof" in spec:
        field.oneof_index = _oneof(message, spec["oneof"])
    _set_type(field, owner, spec["type"])


def _oneof(message: Any, name: str) -> int:
    names = [each.name for each in message.oneof_decl]
    if name not in names:
        message.oneof_decl.add(name=name)
        names.append(name)
    return names.index(name)


def _set_type(field: Any, owner: str, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
        return
    field.type_name = f".{_PACKAGE}.{_full_name(owner, kind)}"
    field.type = _Field.TYPE_ENUM if _full_name(owner, kind) in tables()["proto"]["enums"] else _Field.TYPE_MESSAGE


def _full_name(owner: str, kind: str) -> str:
    """Full name of a type, as seen from a message: nested in the message, in its parent, or in the file."""
    known = {*tables()["proto"]["messages"], *tables()["proto"]["enums"]}
    scopes = [owner, owner.rpartition(".")[0]]
    return next((f"{scope}.{kind}" for scope in scopes if scope and f"{scope}.{kind}" in known), kind)


def _make_map(message: Any, owner: str, field: Any, kind: str) -> None:
    key, value = (part.strip() for part in kind.removeprefix("map<").removesuffix(">").split(","))
    entry = message.nested_type.add(name="".join(part.capitalize() for part in field.name.split("_")) + "Entry")
    entry.options.map_entry = True
    _set_type(entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL), owner, key)
    _set_type(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), owner, value)
    field.label, field.type = _Field.LABEL_REPEATED, _Field.TYPE_MESSAGE
    field.type_name = f".{_PACKAGE}.{owner}.{entry.name}"


@dataclass(frozen=True)
class InferConfig:
    """A valid file, with the plugin's own defaults."""

    message: Any
    folder: Path

    @property
    def infer(self) -> Any:
        return self.message.infer_config

    @property
    def triton(self) -> Any:
        backend = self.infer.backend
        return backend.trt_is if backend.WhichOneof("infer_framework") == "trt_is" else backend.triton

    @property
    def max_batch_size(self) -> int:
        return max(1, self.infer.max_batch_size)

    @property
    def version(self) -> str:
        """Version for the client; empty for the latest."""
        return str(self.triton.version) if self.triton.version > 0 else ""

    @property
    def wants_tensors(self) -> bool:
        return self.message.output_control.output_tensor_meta

    def path(self, name: str) -> Path:
        """A path in the file, relative to the file."""
        return self.folder / name

    def labels(self) -> list[str]:
        name = self.infer.postprocess.labelfile_path
        return self.path(name).read_text().splitlines() if name else []


def load(path: Path) -> InferConfig:
    """Read a configuration.

    Raises:
        InferConfigError: the file is no configuration, or not for a Triton over gRPC.
    """
    message = message_types()()
    try:
        text_format.Parse(path.read_text(), message)  # refuses unknown fields, and two members of one oneof
    except (OSError, text_format.ParseError) as error:
        raise InferConfigError(f"failed to parse {path}: {error}") from error
    mistakes = list(_mistakes(message, path.parent))
    if mistakes:
        raise InferConfigError(f"{path}: {'; '.join(mistakes)}")
    return InferConfig(message, path.parent)


def _mistakes(message: Any, folder: Path) -> Iterator[str]:
    infer = message.infer_config
    yield from _backend_mistakes(infer.backend)
    if len(infer.gpu_ids) > 1:
        yield "gpu_ids has more than one entry"
    if infer.WhichOneof("preprocessing") is None:
        yield "preprocess is missing"
    if infer.WhichOneof("preprocessing") == "input_tensor_from_meta":
        yield "the double has no nvdspreprocess, so input_tensor_from_meta finds nothing"
    yield from _postprocess_mistakes(message, folder)


def _backend_mistakes(backend: Any) -> Iterator[str]:
    framework = backend.WhichOneof("infer_framework")
    if framework is None:
        yield "backend names no triton"
        return
    triton = getattr(backend, framework)
    if not triton.model_name:
        yield "triton.model_name is missing"
    if triton.WhichOneof("server") != "grpc":
        yield "the double supports remote models only: triton.grpc is missing"
    elif not triton.grpc.url:
        yield "grpc.url is missing"
    if triton.grpc.enable_cuda_buffer_sharing:
        yield "enable_cuda_buffer_sharing needs a server on the same GPU; the double has none"


def _postprocess_mistakes(message: Any, folder: Path) -> Iterator[str]:
    infer = message.infer_config
    post = infer.postprocess
    kind = post.WhichOneof("process_type")
    if kind is None:
        yield "postprocess names no kind"
    elif kind not in {"detection", "other"}:
        yield f"the double simulates postprocess detection and other, not {kind}"
    if kind == "other" and not message.output_control.output_tensor_meta:
        yield "postprocess other without output_tensor_meta: the output would be lost"
    if kind == "detection" and post.detection.num_detected_classes <= 0:
        yield "num_detected_classes is missing"
    if kind == "detection" and not post.detection.custom_parse_bbox_func:
        yield "without custom_parse_bbox_func the built-in parser needs coverage and box layers; there are none"
    if post.detection.custom_parse_bbox_func and not infer.custom_lib.path:
        yield "custom_parse_bbox_func without custom_lib.path"
    if infer.custom_lib.path and not (folder / infer.custom_lib.path).exists():
        yield f"custom_lib.path {infer.custom_lib.path} does not exist"
    if post.labelfile_path and not (folder / post.labelfile_path).exists():
        yield f"labelfile_path {post.labelfile_path} does not exist"
