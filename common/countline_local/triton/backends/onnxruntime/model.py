"""The backend `onnxruntime` of the embedded Triton: ONNX models on the CPU, run by ONNX Runtime.

Triton loads this file by its path, once per instance of a model, into a process of its own ("stub"); no module imports
it. It replaces NVIDIA's backend of the same name, which the embedded server does not have, and reads the same settings,
so one config.pbtxt works with both:

- parameters: `intra_op_thread_count`, `inter_op_thread_count`, `execution_mode` ("0" sequential, "1" parallel)
- optimization: `graph.level` (-1 basic, 1 all, 2 none)
- handled by Triton itself: max_batch_size, dynamic_batching, instance_group, model_warmup

Without `intra_op_thread_count` an instance has one thread, while NVIDIA's takes every core: on a machine with other
work, one instance per core is faster than threads that wait for each other. Threads never spin: with two threads,
spinning cost as much processor time as the work itself.

NVIDIA's backend does not know one parameter: `run_batch_size`, the number of frames that go through the graph at once.
On a CPU a larger batch is no faster and often slower, since activations fall out of the caches (measured in
tests/benchmarks/pipelines/bench_triton.py). So the default is 1, also for requests that Triton's dynamic batcher
joined; joining then saves only hand-overs between processes.

Requests of one `execute` share a run if `run_batch_size` permits it. If that run fails, each request runs alone, so
that only the faulty one gets an error.

Triton also starts one process per load that only completes the configuration. It opens the model only where
config.pbtxt leaves something out, so ONNX Runtime is imported when a model is opened.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnxruntime as ort

Config = dict[str, Any]
"""A model configuration from Triton: the protobuf as JSON, names in snake_case."""
Arrays = dict[str, NDArray[Any]]
"""Tensors by name."""

TRITON_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(int8)": "TYPE_INT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}
"""Triton's names of ONNX Runtime's element types."""

GRAPH_LEVELS = {"-1": "ORT_ENABLE_BASIC", "1": "ORT_ENABLE_ALL", "2": "ORT_DISABLE_ALL"}
"""ONNX Runtime's names of Triton's levels of graph optimization."""


class TritonPythonModel:
    """One instance of a model; Triton creates it and calls it from one thread."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Add the inputs and outputs that config.pbtxt omits, from the graph."""
        config: Config = auto_complete_model_config.as_dict()
        if config["input"] and config["output"]:
            return auto_complete_model_config
        session = _open(_model_file_of_stub(), config)
        if config["max_batch_size"] == 0 and _takes_batches(session):
            auto_complete_model_config.set_max_batch_size(4)  # what NVIDIA's backend chooses
            auto_complete_model_config.set_dynamic_batching()
        first = 1 if config["max_batch_size"] else 0
        for tensor in session.get_inputs():
            auto_complete_model_config.add_input(_describe(tensor, first))
        for tensor in session.get_outputs():
            auto_complete_model_config.add_output(_describe(tensor, first))
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Open the model, check it against its configuration and run it once, so that a broken model is never ready."""
        config: Config = json.loads(args["model_config"])
        folder = Path(args["model_repository"]) / args["model_version"]
        self.session = _open(folder / _file_name(config), config)
        _check(self.session, config)
        self.batched = config["max_batch_size"] > 0
        self.run_batch_size = max(1, int(_parameter(config, "run_batch_size") or 1))
        self._warm_up()

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request with its outputs, or with the error that this request caused."""
        inputs = [_inputs_of(request) for request in requests]
        answers: list[Arrays | Exception] = []
        for group in _groups([self._size(each) for each in inputs], self.run_batch_size):
            answers += self._answer([inputs[index] for index in group])
        return [_response(request, answer) for request, answer in zip(requests, answers, strict=True)]

    def _answer(self, group: Sequence[Arrays]) -> list[Arrays | Exception]:
        try:
            return list(self._run_joined(group))
        except Exception as error:  # noqa: BLE001  (whatever the graph raises is the answer to the request)
            if len(group) == 1:
                return [error]
            return [answer for inputs in group for answer in self._answer([inputs])]

    def _run_joined(self, group: Sequence[Arrays]) -> Iterator[Arrays]:
        if len(group) == 1:
            yield self._run(group[0])
            return
        joined = {name: np.concatenate([inputs[name] for inputs in group]) for name in group[0]}
        outputs = self._run(joined)
        first = 0
        for inputs in group:
            last = first + self._size(inputs)
            yield {name: array[first:last] for name, array in outputs.items()}
            first = last

    def _run(self, inputs: Arrays) -> Arrays:
        names = [tensor.name for tensor in self.session.get_outputs()]
        size, step = self._size(inputs), self.run_batch_size
        if not self.batched or size <= step:
            return dict(zip(names, self.session.run(names, inputs), strict=True))
        parts = [
            self.session.run(names, {name: array[first : first + step] for name, array in inputs.items()})
            for first in range(0, size, step)
        ]
        return {name: np.concatenate([part[index] for part in parts]) for index, name in enumerate(names)}

    def _size(self, inputs: Arrays) -> int:
        return len(next(iter(inputs.values()))) if self.batched else 1

    def _warm_up(self) -> None:
        shapes = {
            tensor.name: _warm_up_shape(tensor.shape, batched=self.batched) for tensor in self.session.get_inputs()
        }
        if all(_is_fixed(shape) for shape in shapes.values()):
            types = {tensor.name: _numpy_type(tensor) for tensor in self.session.get_inputs()}
            self._run({name: np.zeros(shape, types[name]) for name, shape in shapes.items()})


def _open(path: Path, config: Config) -> "ort.InferenceSession":
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = int(_parameter(config, "intra_op_thread_count") or 1)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.inter_op_num_threads = int(_parameter(config, "inter_op_thread_count") or 1)
    if _parameter(config, "execution_mode") == "1":
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    level = config.get("optimization", {}).get("graph", {}).get("level")
    name = GRAPH_LEVELS.get(str(level), "ORT_ENABLE_ALL")
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, name)
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise pb_utils.TritonModelException(f"{path.name} is not a model that ONNX Runtime can run: {error}") from error


def _parameter(config: Config, key: str) -> str:
    value = config.get("parameters", {}).get(key, {}).get("string_value", "")
    return str(value)


def _file_name(config: Config) -> str:
    return str(config.get("default_model_filename") or "model.onnx")


def _model_file_of_stub() -> Path:
    """The model's file: the first argument of the stub; `auto_complete_config` does not get it."""
    return Path(os.fsdecode(Path("/proc/self/cmdline").read_bytes().split(b"\0")[1]))


def _takes_batches(session: "ort.InferenceSession") -> bool:
    tensors = (*session.get_inputs(), *session.get_outputs())
    return all(tensor.shape and not isinstance(tensor.shape[0], int) for tensor in tensors)


def _describe(tensor: Any, first: int) -> Config:
    dims = [size if isinstance(size, int) else -1 for size in tensor.shape[first:]]
    return {"name": tensor.name, "data_type": TRITON_TYPES[tensor.type], "dims": dims}


def _check(session: "ort.InferenceSession", config: Config) -> None:
    for kind, tensors in (("input", session.get_inputs()), ("output", session.get_outputs())):
        found = {tensor.name: TRITON_TYPES.get(tensor.type, tensor.type) for tensor in tensors}
        for wanted in config[kind]:
            name, data_type = wanted["name"], wanted["data_type"]
            if found.get(name) != data_type:
                raise pb_utils.TritonModelException(
                    f"the configuration names the {kind} {name!r} of {data_type}; the graph has {found}"
                )


def _warm_up_shape(shape: Sequence[int | str | None], *, batched: bool) -> list[int]:
    sizes = [size if isinstance(size, int) else -1 for size in shape]
    return [1, *sizes[1:]] if batched else sizes


def _is_fixed(shape: Sequence[int]) -> bool:
    return all(size > 0 for size in shape)


def _numpy_type(tensor: Any) -> Any:
    return pb_utils.triton_string_to_numpy(TRITON_TYPES[tensor.type])


def _groups(sizes: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Indices of requests that share a run: neighbours, together at most `limit` frames (a larger one runs alone)."""
    group: list[int] = []
    total = 0
    for index, size in enumerate(sizes):
        if group and total + size > limit:
            yield group
            group, total = [], 0
        group.append(index)
        total += size
    if group:
        yield group


def _inputs_of(request: Any) -> Arrays:
    return {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}


def _response(request: Any, answer: Arrays | Exception) -> Any:
    if isinstance(answer, Exception):
        # Not INTERNAL: the server is healthy; the graph cannot process these frames.
        error = pb_utils.TritonError(f"{type(answer).__name__}: {answer}", pb_utils.TritonError.INVALID_ARG)
        return pb_utils.InferenceResponse([], error=error)
    wanted = request.requested_output_names()
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, answer[name]) for name in wanted if name in answer])
