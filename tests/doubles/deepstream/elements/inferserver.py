"""nvinferserver with a Triton over gRPC."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from tests.doubles.deepstream import infer_config
from tests.doubles.deepstream.batches import Batch
from tests.doubles.deepstream.elements.base import NVMM, BatchFilter, always
from tests.doubles.deepstream.inference import Answer, Inference
from tests.doubles.deepstream.parser_library import BboxParser, Detected, Filters
from tests.doubles.deepstream.structs import PyCapsule, Structure

_DATA_TYPES = {"float32": "FLOAT", "float16": "HALF", "int8": "INT8", "int32": "INT32"}


class InferenceFailedError(Exception):
    """An inference failed; the message is that of the plugin."""


class InferServer(BatchFilter):
    """Does not start without its file, its server and its model; a failed inference ends the stream."""

    __gstmetadata__ = ("NvInferServer", "NvInferServer Plugin", "Double of nvinferserver", "Countline tests")
    __gsttemplates__ = always(f"{NVMM}, format={{NV12,RGBA}}")

    def start(self) -> None:
        self._inference: Inference | None = None
        path = self.value("config-file-path")
        if not path:
            raise infer_config.InferConfigError("config-file-path is not set")
        self._config = self._overridden(infer_config.load(Path(path)))
        if self._config.message.input_control.process_mode == 2:
            raise infer_config.InferConfigError("the double supports full frames only, not PROCESS_MODE_CLIP_OBJECTS")
        self._parser = BboxParser.of(self._config)
        self._inference = Inference(self._config)
        self._labels = self._config.labels()
        self._batches_seen = 0

    def _overridden(self, config: infer_config.InferConfig) -> infer_config.InferConfig:
        """The configuration with properties of the element; they override the file."""
        message = type(config.message)()
        message.CopyFrom(config.message)
        if self.value("unique-id"):
            message.infer_config.unique_id = self.value("unique-id")
        if self.value("batch-size"):
            message.infer_config.max_batch_size = self.value("batch-size")
        if self.value("interval"):
            message.input_control.interval = self.value("interval")
        if self.value("process-mode"):
            message.input_control.process_mode = self.value("process-mode")
        return dataclasses.replace(config, message=message)

    def stop(self) -> None:
        if self._inference is not None:
            self._inference.close()
            self._inference = None

    def handle(self, batch: Batch) -> None:
        """Infer every (interval + 1)th batch."""
        turn, self._batches_seen = self._batches_seen, self._batches_seen + 1
        if turn % (self._config.message.input_control.interval + 1):
            return
        assert self._inference is not None
        try:
            answers = self._inference.run(batch.pictures)
        except Exception as error:
            unique_id = self._config.infer.unique_id
            raise InferenceFailedError(f"inference failed with unique-id:{unique_id} ({error})") from error
        for frame, answer in zip(batch.frames, answers, strict=True):
            self._write(batch, frame, answer)

    def _write(self, batch: Batch, frame: Structure, answer: Answer) -> None:
        if self._parser is not None:
            self._add_objects(batch, frame, answer)
        if self._config.wants_tensors:
            self._add_tensors(batch, frame, answer)

    def _add_objects(self, batch: Batch, frame: Structure, answer: Answer) -> None:
        assert self._parser is not None
        assert self._inference is not None
        network = self._inference.width, self._inference.height, self._inference.channels
        picture = batch.pictures[frame._values["batch_id"]]
        filters = Filters(self._config.message)
        for found in self._parser.parse(answer.outputs, network):
            box = _clipped(answer.placement.to_picture(*found.box), picture.width, picture.height)
            if filters.lets_pass(found.class_id, box):
                self._add_object(frame, found, box)
        frame._values["bInferDone"] = 1

    def _add_object(self, frame: Structure, found: Detected, box: tuple[float, ...]) -> None:
        label = self._labels[found.class_id] if found.class_id < len(self._labels) else ""
        self.installed.pyds.add_object(
            frame,
            box=box,
            class_id=found.class_id,
            confidence=found.score,
            obj_label=label,
            unique_component_id=self._config.infer.unique_id,
        )

    def _add_tensors(self, batch: Batch, frame: Structure, answer: Answer) -> None:
        pyds, life = self.installed.pyds, batch.life
        assert self._inference is not None
        batch.tensors += answer.outputs.values()
        arrays = list(answer.outputs.values())
        meta = pyds.make(
            "NvDsInferTensorMeta",
            life,
            network_info=pyds.make(
                "NvDsInferNetworkInfo",
                life,
                width=self._inference.width,
                height=self._inference.height,
                channels=self._inference.channels,
            ),
            unique_id=self._config.infer.unique_id,
            num_output_layers=len(arrays),
            out_buf_ptrs_host=PyCapsule(life, arrays),
            gpu_id=0,
            layers=[self._layer(batch, index, *item) for index, item in enumerate(answer.outputs.items())],
            arrays=arrays,
        )
        pyds.attach_user_meta(frame, "frame_user_meta_list", "NVDSINFER_TENSOR_OUTPUT_META", meta)

    def _layer(self, batch: Batch, index: int, name: str, array: np.ndarray) -> Structure:
        pyds = self.installed.pyds
        dims: dict[str, Any] = {"numDims": array.ndim, "numElements": array.size, "d": _eight(array.shape)}
        return pyds.make(
            "NvDsInferLayerInfo",
            batch.life,
            dataType=getattr(pyds.module.NvDsInferDataType, _DATA_TYPES[array.dtype.name]),
            dims=pyds.make("NvDsInferDims", batch.life, **dims),
            inferDims=pyds.make("NvDsInferDims", batch.life, **dims),
            bindingIndex=index,
            layerName=name,
            buffer=None,
            isInput=0,
        )


def _eight(shape: tuple[int, ...]) -> np.ndarray:
    """Dims as the array of eight that C has."""
    return np.array([*shape, *[0] * (8 - len(shape))], np.int64)


def _clipped(box: tuple[float, float, float, float], width: int, height: int) -> tuple[float, float, float, float]:
    """A box (left, top, width, height) clipped to the picture."""
    left, top = min(max(box[0], 0.0), width), min(max(box[1], 0.0), height)
    right, bottom = min(max(box[0] + box[2], 0.0), width), min(max(box[1] + box[3], 0.0), height)
    return left, top, right - left, bottom - top
