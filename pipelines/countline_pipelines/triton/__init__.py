"""The data plane's way to Triton: one interface, two transports (shared memory, gRPC bytes).

`api` is what the rest of the data plane sees; `client.TritonClient` connects, chooses the transport, loads models and
reconnects. What every room knows of Triton is in `countline_common.triton`.
"""

from countline_common.triton import InferenceLostError, ModelInfo, ModelOverrides, ModelRef, ModelRefusedError
from countline_pipelines.triton.api import InferenceClient, Transport, infer_surely

__all__ = [
    "InferenceClient",
    "InferenceLostError",
    "ModelInfo",
    "ModelOverrides",
    "ModelRef",
    "ModelRefusedError",
    "Transport",
    "infer_surely",
]
