"""What the tests of doubles share: one Triton with a model that sees moving rectangles."""

import pytest
import tritonclient.grpc as triton_grpc
from tests.fixtures.clips import write_blob_repository
from tests.fixtures.triton import start_triton

from countline_common.triton.access import secret_headers


@pytest.fixture(scope="session")
def blob_triton(tmp_path_factory):
    """host:port of its gRPC service; the model `blob` is loaded."""
    folder = tmp_path_factory.mktemp("blob-triton")
    server = start_triton(write_blob_repository(folder), folder)
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        client.load_model("blob", headers=secret_headers())
    yield server.grpc
    server.stop()


@pytest.fixture(autouse=True)
def new_muxer(deepstream_double, monkeypatch):
    """These tests use the muxer that the double has; a program sets the variable for itself."""
    monkeypatch.setenv("USE_NEW_NVSTREAMMUX", "yes")
