"""Custom bounding box parsers: calls the shared library that a configuration names, with C++ types."""

import ctypes
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.doubles.deepstream.infer_config import InferConfig, InferConfigError

INCLUDE = Path(__file__).with_name("include")
_SHIM = Path(__file__).with_name("parser_shim.cpp")
_CAPACITY = 4096
_DATA_TYPES = {"float32": 0, "float16": 1, "int8": 2, "int32": 3}


@dataclass(frozen=True)
class Detected:
    """One object as a parser reports it."""

    class_id: int
    box: tuple[float, float, float, float]
    """Left, top, width, height in pixels of the network's input."""
    score: float


class _Dims(ctypes.Structure):
    _fields_ = (("numDims", ctypes.c_uint), ("d", ctypes.c_uint * 8), ("numElements", ctypes.c_uint))


class _Layer(ctypes.Structure):
    _fields_ = (
        ("dataType", ctypes.c_int),
        ("dims", _Dims),
        ("bindingIndex", ctypes.c_int),
        ("layerName", ctypes.c_char_p),
        ("buffer", ctypes.c_void_p),
        ("isInput", ctypes.c_int),
    )


class _Network(ctypes.Structure):
    _fields_ = (("width", ctypes.c_uint), ("height", ctypes.c_uint), ("channels", ctypes.c_uint))


class _Object(ctypes.Structure):
    _fields_ = (
        ("classId", ctypes.c_uint),
        *((name, ctypes.c_float) for name in ("left", "top", "width", "height", "detectionConfidence")),
    )


def compile_library(source: Path, target: Path, *, include: Path = INCLUDE) -> Path:
    """Compile C++ against the interface of parsers.

    Raises:
        subprocess.CalledProcessError: the source does not compile; `stderr` has the errors.
    """
    command = ["g++", "-std=c++17", "-O1", "-shared", "-fPIC", f"-I{include}", str(source), "-o", str(target)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target


@functools.cache
def _shim() -> Any:
    if shutil.which("g++") is None:
        raise InferConfigError("a custom parser needs g++ here, to call C++ from Python: apt-get install g++")
    folder = tempfile.TemporaryDirectory(prefix="countline-double-")
    library = ctypes.CDLL(str(compile_library(_SHIM, Path(folder.name) / "shim.so")))
    function = library.countline_double_parse
    function.restype = ctypes.c_int
    folder.cleanup()  # the library stays mapped
    return function


class BboxParser:
    """One function of one library, and the clustering after it."""

    def __init__(self, config: InferConfig) -> None:
        infer = config.infer
        self._detection = infer.postprocess.detection
        path, name = config.path(infer.custom_lib.path), self._detection.custom_parse_bbox_func
        try:
            self._library = ctypes.CDLL(str(path))
            self._function = ctypes.cast(getattr(self._library, name), ctypes.c_void_p)
        except (OSError, AttributeError) as error:
            raise InferConfigError(f"custom parser {name} of {path}: {error}") from error
        self._name = name

    @classmethod
    def of(cls, config: InferConfig) -> "BboxParser | None":
        """The parser of a configuration; None for `other {}`, which parses nothing."""
        return cls(config) if config.infer.postprocess.WhichOneof("process_type") == "detection" else None

    def parse(self, outputs: Mapping[str, np.ndarray], network: tuple[int, int, int]) -> list[Detected]:
        """The objects of one frame, in pixels of the network's input.

        Raises:
            RuntimeError: the parser returned false.
        """
        layers = (_Layer * len(outputs))(*(_layer(index, *item) for index, item in enumerate(outputs.items())))
        found = (_Object * _CAPACITY)()
        thresholds = self._thresholds()
        count = _shim()(
            self._function,
            layers,
            len(outputs),
            ctypes.byref(_Network(*network)),
            (ctypes.c_float * len(thresholds))(*thresholds),
            len(thresholds),
            found,
            _CAPACITY,
        )
        if count < 0:
            raise RuntimeError(f"{self._name} failed")
        objects = [
            Detected(each.classId, (each.left, each.top, each.width, each.height), each.detectionConfidence)
            for each in found[:count]
        ]
        return self._clustered([each for each in objects if each.class_id < len(thresholds)])

    def _thresholds(self) -> list[float]:
        detection = self._detection
        return [
            detection.per_class_params[index].pre_threshold if index in detection.per_class_params else 0.0
            for index in range(detection.num_detected_classes)
        ]

    def _clustered(self, objects: list[Detected]) -> list[Detected]:
        policy = self._detection.WhichOneof("clustering_policy")
        if policy == "nms":
            return _suppressed(objects, self._detection.nms)
        if policy == "simple_cluster":
            return [each for each in objects if each.score >= self._detection.simple_cluster.threshold]
        if policy is not None:
            raise InferConfigError(f"the double does not simulate clustering by {policy}")
        return objects


def _layer(index: int, name: str, array: np.ndarray) -> _Layer:
    dims = _Dims(array.ndim, (ctypes.c_uint * 8)(*array.shape), array.size)
    return _Layer(_DATA_TYPES[array.dtype.name], dims, index, name.encode(), array.ctypes.data, 0)


def _suppressed(objects: list[Detected], nms: Any) -> list[Detected]:
    """Greedy suppression within each class, best first."""
    kept: list[Detected] = []
    for each in sorted(objects, key=lambda detected: -detected.score):
        of_class = [other for other in kept if other.class_id == each.class_id]
        if each.score < nms.confidence_threshold or (nms.topk > 0 and len(of_class) >= nms.topk):
            continue
        if all(iou(each.box, other.box) <= (nms.iou_threshold or 1.0) for other in of_class):
            kept.append(each)
    return kept


def iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union of two boxes (left, top, width, height)."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / (one[2] * one[3] + other[2] * other[3] - common)


class Filters:
    """The filters of output_control.detect_control: they decide which parsed boxes become objects."""

    def __init__(self, message: Any) -> None:
        self._control = message.output_control.detect_control

    def lets_pass(self, class_id: int, box: tuple[float, ...]) -> bool:
        """Whether a box (left, top, width, height in the picture) is kept."""
        if class_id in self._control.filter_out_class_ids:
            return False
        specific = self._control.specific_class_filters
        chosen = specific.get(class_id, self._control.default_filter)
        limits = chosen.bbox_filter
        if box[2] < limits.min_width or box[3] < limits.min_height:
            return False
        if limits.max_width and box[2] > limits.max_width:
            return False
        return not (limits.max_height and box[3] > limits.max_height)
