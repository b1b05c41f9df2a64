"""The data plane's client of Triton: one interface, two transports (shared memory, gRPC bytes).

api.py        the interface that the rest of the data plane uses
slots.py      the ring of slots: frames in shared memory
transport.py  the choice of the transport; rings that Triton may read
loading.py    loads one version of a model
models.py     the loaded models of a client
recovery.py   survives restarts of Triton
requests.py   requests for inference
client.py     connects, and puts the parts together
"""

from countline_common.triton import InferenceLostError, ModelInfo, ModelOverrides, ModelRef, ModelRefusedError
from countline_pipelines.triton.api import InferenceClient, SilentTritonError, Transport, infer_surely

__all__ = [
    "InferenceClient",
    "InferenceLostError",
    "ModelInfo",
    "ModelOverrides",
    "ModelRef",
    "ModelRefusedError",
    "SilentTritonError",
    "Transport",
    "infer_surely",
]
