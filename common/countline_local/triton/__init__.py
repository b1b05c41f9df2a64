"""The embedded Triton: NVIDIA's `tritonserver` from the wheel nvidia-pytriton, with ONNX Runtime on the CPU.

    settings = TritonSettings(repositories=(DATA / "triton-repo",), ports=TritonPorts(9000, 9001, 9002))
    async with EmbeddedTriton(settings, work=DATA / "triton") as server:      # ready when entered
        ...                                                                   # gRPC at server.addresses.grpc

`assembly` puts the backends together, `command` says how the server is called, `server` runs it, `cli` is the command
`countline triton`. What a model needs changed on one machine is overridden when it is loaded, by whoever loads it; the
repository stays as it is and loads in NVIDIA's container too.
"""

from countline_local.triton.assembly import prepare_backends
from countline_local.triton.command import TritonAddresses, TritonCommand, TritonPorts, TritonSettings, triton_command
from countline_local.triton.server import EmbeddedTriton, remove_stale_triton

__all__ = [
    "EmbeddedTriton",
    "TritonAddresses",
    "TritonCommand",
    "TritonPorts",
    "TritonSettings",
    "prepare_backends",
    "remove_stale_triton",
    "triton_command",
]
