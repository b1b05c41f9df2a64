"""The data plane's way to Triton: one interface, two transports (shared memory, gRPC bytes).

api.py         what the rest of the data plane sees: `InferenceClient`, `ModelInfo`, errors
client.py      `TritonClient`: connects, chooses the transport, loads models, reconnects
connection.py  the one place that talks to the untyped tritonclient
model_config.py  between Triton's model configuration and ours; pure
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
