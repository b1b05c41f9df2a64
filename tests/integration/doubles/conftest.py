"""What the tests of doubles share: a Triton that has loaded a model that sees moving rectangles."""

import pytest
import tritonclient.grpc as triton_grpc
from tests.fixtures.triton import TritonServer

from countline_common.triton.access import secret_headers


@pytest.fixture(scope="module")
def blob_triton(blob_triton: TritonServer) -> str:
    """host:port of the gRPC service of the usual one; the model `blob` is loaded."""
    with triton_grpc.InferenceServerClient(blob_triton.grpc) as client:
        client.load_model("blob", headers=secret_headers())
    return blob_triton.grpc


@pytest.fixture(autouse=True)
def new_muxer(deepstream_double, monkeypatch):
    """These tests use the muxer that the double has; a program sets the variable for itself."""
    monkeypatch.setenv("USE_NEW_NVSTREAMMUX", "yes")
