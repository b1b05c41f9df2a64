"""The work of nvinferserver on frames: scale, order and normalise them, call a real Triton, read its response."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tritonclient.grpc as triton_grpc
from tests.doubles.deepstream import pixels
from tests.doubles.deepstream.batches import Picture
from tests.doubles.deepstream.infer_config import InferConfig, InferConfigError
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, triton_to_np_dtype

_INPUT_TYPES = ("UINT8", "INT8", "UINT16", "INT16", "UINT32", "INT32", "FP16", "FP32")
_NHWC, _LINEAR = 2, 1
_RGB, _BGR, _GRAY = 1, 2, 3
_CHANNELS = {_RGB: 3, _BGR: 3, _GRAY: 1}


@dataclass(frozen=True)
class Placement:
    """Position of a picture in the network's input: box_in_picture = (box_in_network - offset) / ratio."""

    ratio_x: float
    ratio_y: float
    offset_left: float
    offset_top: float

    def to_picture(self, left: float, top: float, width: float, height: float) -> tuple[float, float, float, float]:
        return (
            (left - self.offset_left) / self.ratio_x,
            (top - self.offset_top) / self.ratio_y,
            width / self.ratio_x,
            height / self.ratio_y,
        )


@dataclass(frozen=True)
class Answer:
    """The model's outputs for one frame."""

    outputs: dict[str, np.ndarray]
    """Name to array without the batch dimension, in the order of the model; each array owns its memory."""
    placement: Placement


class Inference:
    """One model of one server, as one configuration uses it.

    Raises:
        InferConfigError: the server does not answer, is not ready, or has a model that does not fit.
    """

    def __init__(self, config: InferConfig) -> None:
        self._config = config
        self._name = config.triton.model_name
        self._client = triton_grpc.InferenceServerClient(config.triton.grpc.url)
        try:
            self._check_server()
            model = self._client.get_model_config(self._name, config.version).config
        except InferenceServerException as error:
            self._client.close()
            raise InferConfigError(f"Triton at {config.triton.grpc.url}: {error}") from error
        self._input = self._choose_input(model)
        self.output_names = self._choose_outputs(model)
        self._check_batch(model)
        self._nhwc, (self.width, self.height, self.channels) = self._layout()

    def close(self) -> None:
        self._client.close()

    def _check_server(self) -> None:
        if not self._client.is_server_live():
            raise InferConfigError("Triton is not live")
        if not self._client.is_server_ready():
            raise InferConfigError("Triton is not ready")
        if not self._client.is_model_ready(self._name, self._config.version):
            raise InferConfigError(f"model {self._name!r} version {self._config.version or 'latest'} is not ready")

    def _choose_input(self, model: Any) -> Any:
        wanted = self._config.infer.preprocess.tensor_name
        declared = [each.name for each in self._config.infer.backend.inputs]
        names = [each.name for each in model.input]
        if declared and set(declared) != set(names):
            raise InferConfigError(f"inputs {declared} are not those of the model: {names}")
        if not wanted and len(names) > 1:
            raise InferConfigError(f"the model has several inputs ({', '.join(names)}): tensor_name is missing")
        chosen = next((each for each in model.input if each.name == (wanted or names[0])), None)
        if chosen is None:
            raise InferConfigError(f"the model has no input {wanted!r}, it has {', '.join(names)}")
        return chosen

    def _choose_outputs(self, model: Any) -> list[str]:
        names = [each.name for each in model.output]
        declared = [each.name for each in self._config.infer.backend.outputs]
        missing = [name for name in declared if name not in names]
        if missing:
            raise InferConfigError(f"the model has no output {', '.join(missing)}, it has {', '.join(names)}")
        return declared or names

    def _check_batch(self, model: Any) -> None:
        if self._config.max_batch_size > max(1, model.max_batch_size):
            raise InferConfigError(
                f"max_batch_size {self._config.max_batch_size} is above that of the model, {model.max_batch_size}"
            )
        self._batched = model.max_batch_size > 0
        self._type = _type_name(self._input.data_type)
        if self._type not in _INPUT_TYPES:
            raise InferConfigError(f"input type {self._type} is not supported by preprocess")
        for each in self._config.infer.backend.inputs:
            declared = _declared_type(each.data_type)
            if declared not in {None, self._type}:
                raise InferConfigError(f"input {each.name} is {self._type} in the model, not {declared}")

    def _layout(self) -> tuple[bool, tuple[int, int, int]]:
        dims = [int(value) for value in self._input.dims]
        dims = dims if self._batched else dims[1:]
        if len(dims) != 3 or min(dims) <= 0:
            raise InferConfigError(f"input dims {dims} are not three fixed numbers; declare them in inputs")
        order = self._config.infer.preprocess.tensor_order
        channels = _CHANNELS[self._config.infer.preprocess.network_format or _RGB]
        nhwc = order == _NHWC or (order == 0 and dims[2] == channels and dims[0] != channels)
        height, width, depth = dims if nhwc else (dims[1], dims[2], dims[0])
        if depth != channels:
            name = {_NHWC: "NHWC", _LINEAR: "LINEAR (NCHW)"}.get(order, "NONE")
            raise InferConfigError(
                f"tensor_order {name} does not fit the model's dims {dims}: {channels} channels expected"
            )
        return nhwc, (width, height, depth)

    def run(self, pictures: list[Picture]) -> list[Answer]:
        """Infer a batch, in parts of max_batch_size.

        Raises:
            InferenceServerException: a request failed.
        """
        answers: list[Answer] = []
        for start in range(0, len(pictures), self._config.max_batch_size):
            answers += self._ask(pictures[start : start + self._config.max_batch_size])
        return answers

    def _ask(self, pictures: list[Picture]) -> list[Answer]:
        prepared = [self._prepare(picture) for picture in pictures]
        tensor = np.stack([array for array, _ in prepared])
        request = triton_grpc.InferInput(self._input.name, list(tensor.shape), np_to_triton_dtype(tensor.dtype))
        request.set_data_from_numpy(tensor)
        wanted = [triton_grpc.InferRequestedOutput(name) for name in self.output_names]
        result = self._client.infer(self._name, [request], model_version=self._config.version, outputs=wanted)
        outputs = {name: result.as_numpy(name) for name in self.output_names}
        return [
            Answer({name: np.array(array[index]) for name, array in outputs.items()}, placement)
            for index, (_, placement) in enumerate(prepared)
        ]

    def _prepare(self, picture: Picture) -> tuple[np.ndarray, Placement]:
        laid, placement = self._lay(picture)
        values = self._normalised(self._channels(laid))
        return np.ascontiguousarray(values if self._nhwc else values.transpose(2, 0, 1)), placement

    def _lay(self, picture: Picture) -> tuple[np.ndarray, Placement]:
        """uint8 (height, width, 3) RGB, padded with black, the plugin's only colour."""
        preprocess = self._config.infer.preprocess
        width, height = self.width, self.height
        if preprocess.maintain_aspect_ratio:
            width, height = pixels.fitted(picture.width, picture.height, self.width, self.height)
        left = top = 0
        if preprocess.maintain_aspect_ratio and preprocess.symmetric_padding:
            left, top = (self.width - width) // 2, (self.height - height) // 2
        canvas = np.zeros((self.height, self.width, 3), np.uint8)
        canvas[top : top + height, left : left + width] = pixels.rgb(picture, width, height)
        return canvas, Placement(width / picture.width, height / picture.height, left, top)

    def _channels(self, rgb: np.ndarray) -> np.ndarray:
        wanted = self._config.infer.preprocess.network_format
        if wanted == _BGR:
            return rgb[:, :, ::-1]
        if wanted == _GRAY:
            return np.rint(rgb @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[:, :, None]
        return rgb

    def _normalised(self, values: np.ndarray) -> np.ndarray:
        """scale_factor * (x - offset), in the type of the model's input."""
        normalize = self._config.infer.preprocess.normalize
        scale, offsets = normalize.scale_factor or 1.0, list(normalize.channel_offsets)
        if offsets and len(offsets) != self.channels:
            raise InferConfigError(f"channel_offsets has {len(offsets)} values for {self.channels} channels")
        numpy_type = triton_to_np_dtype(self._type)
        if scale == 1.0 and not any(offsets) and numpy_type == np.uint8:
            return values
        changed = (values.astype(np.float32) - np.array(offsets or [0.0], np.float32)) * np.float32(scale)
        if np.issubdtype(numpy_type, np.integer):
            limits = np.iinfo(numpy_type)
            changed = np.clip(np.rint(changed), limits.min, limits.max)
        return changed.astype(numpy_type)


def _type_name(number: int) -> str:
    from tritonclient.grpc import model_config_pb2

    return model_config_pb2.DataType.Name(number).removeprefix("TYPE_")


def _declared_type(number: int) -> str | None:
    names = {1: "FP32", 2: "FP16", 3: "INT8", 4: "INT16", 5: "INT32", 6: "UINT8", 7: "UINT16", 8: "UINT32"}
    return names.get(number)
