"""ONNX Runtime on the CPU."""

import onnxruntime as ort


def open_session(model: bytes) -> ort.InferenceSession:
    """Open a model in ONNX Runtime on the CPU, with one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def first_line(error: Exception) -> str:
    """The first line of an error's message, since those of ONNX are long; the name of its class if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
