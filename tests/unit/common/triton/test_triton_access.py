"""To which Triton the secret of a data folder is sent."""

from pathlib import Path

import pytest

from countline_common.errors import InvalidInputError
from countline_common.triton.access import CREDENTIAL, GRPC_HEADER, SECRET_VARIABLE, headers_for


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a secret in the data folder of this test."""
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    monkeypatch.setenv("COUNTLINE_DATA", str(tmp_path))
    file = tmp_path / "credentials" / CREDENTIAL
    file.parent.mkdir()
    file.write_text("s3cret\n")
    return file


@pytest.mark.usefixtures("secret")
def test_the_secret_of_a_data_folder_stays_on_its_machine() -> None:
    assert headers_for("127.0.0.1:8001") == {GRPC_HEADER: "s3cret"}
    assert headers_for("localhost:8001") == {GRPC_HEADER: "s3cret"}
    assert headers_for("triton.example.org:8001") == {}


def test_a_secret_that_is_named_goes_to_another_machine(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, str(secret))
    assert headers_for("triton.example.org:8001") == {GRPC_HEADER: "s3cret"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xef\xbb\xbfs3cret\r\n", ""),
        ("s3cret\n".encode("utf-16"), "is UTF-16 text"),
        ("s3cr\u00e9t\n".encode("latin-1"), "is not UTF-8 text"),
        ("s3cr\u00e9t\n".encode(), "holds no secret"),
        (b"two\nlines\n", "holds no secret"),
    ],
)
def test_a_file_of_a_secret_from_windows_is_read_or_refused_in_words(secret: Path, content: bytes, said: str) -> None:
    """It ended in a traceback, in Python or in gRPC."""
    secret.write_bytes(content)
    if said:
        with pytest.raises(InvalidInputError, match=said):
            headers_for("127.0.0.1:8001")
    else:
        assert headers_for("127.0.0.1:8001") == {GRPC_HEADER: "s3cret"}
