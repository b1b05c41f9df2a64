"""The data plane's way to Triton: one interface, two transports (shared memory, gRPC bytes).

`api` is what the rest of the data plane sees; `client.TritonClient` connects, chooses the transport, loads models and
reconnects; `connection` is the one place that talks to the untyped tritonclient; `model_config` lies between Triton's
model configuration and ours and is pure.
"""

from countline_pipelines.triton.api import (
    InferenceClient,
    InferenceLostError,
    ModelInfo,
    ModelOverrides,
    ModelRefusedError,
    Transport,
    infer_surely,
)

__all__ = [
    "InferenceClient",
    "InferenceLostError",
    "ModelInfo",
    "ModelOverrides",
    "ModelRefusedError",
    "Transport",
    "infer_surely",
]
