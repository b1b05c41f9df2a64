"""`countline_common.files.text_files` reads every text file that users write, with a byte order mark or without."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from countline_common.errors import CountlineError
from countline_control.serve.remote import service_metadata
from countline_models.cli.deploy import _truth as truth_of_clip
from countline_models.labels import read_labels
from countline_models.pull.manifest import read_manifest
from countline_models.repository.reader import ModelReader
from countline_pipelines.evaluation.mot import read_result, read_truth
from countline_pipelines.evaluation.seqinfo import read_seqinfo
from countline_pipelines.offline.replay import read_jsonl, read_mot
from countline_pipelines.offline.trajectory_files import read_trajectories
from countline_pipelines.worker.settings import WorkerSettings

ROOT = Path(__file__).resolve().parents[4]
ROOMS = ("common", "pipelines", "models", "control-plane", "analytics")
MOT = "1,1,10,10,20,20,1,1,1\r\n"
SEQINFO = "[Sequence]\r\nimWidth=10\r\nimHeight=10\r\nframeRate=10\r\nseqLength=1\r\n"
TRUTH = '{"lines": {"gate": {"points": [[0, 0.5], [1, 0.5]], "in": 1, "out": 0}}}'

READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "labels": ("person\r\ncar\r\n", read_labels),
    "manifest": ('{"models": []}', read_manifest),
    "truth of a clip": (TRUTH, lambda path: truth_of_clip(path, path)),
    "recording": ('{"t": 0, "objects": []}\r\n', lambda path: list(read_jsonl(path, with_ids=False))),
    "MOT recording": (MOT, lambda path: list(read_mot(path, fps=10, with_ids=True))),
    "MOT truth": (MOT, read_truth),
    "MOT result": (MOT, read_result),
    "seqinfo": (SEQINFO, read_seqinfo),
    "trajectories": ('{"track": "1"}\r\n', lambda path: list(read_trajectories(path))),
    "worker's token": (
        "token\r\n",
        lambda path: WorkerSettings(nats_url="nats://127.0.0.1:9", worker_token_file=path).token(),
    ),
    "service token": ("token\r\n", service_metadata),
}


def seen(found: object) -> str:
    """What a reader returned, without the addresses of objects."""
    return re.sub(r"0x[0-9a-f]+", "", repr(found))


@pytest.mark.parametrize("kind", READERS)
def test_a_byte_order_mark_changes_nothing(tmp_path: Path, kind: str) -> None:
    text, read = READERS[kind]
    path = tmp_path / "file"
    path.write_bytes(text.encode())
    plain = seen(read(path))
    path.write_bytes(text.encode("utf-8-sig"))
    assert seen(read(path)) == plain
    assert "\ufeff" not in plain


@pytest.mark.parametrize("content", ["utf-16", "latin-1"])
@pytest.mark.parametrize("kind", READERS)
def test_another_encoding_is_an_error_that_names_the_file(tmp_path: Path, kind: str, content: str) -> None:
    text, read = READERS[kind]
    path = tmp_path / "file"
    path.write_bytes(text.encode("utf-16") if content == "utf-16" else text.encode() + b"\xe9")
    with pytest.raises(CountlineError) as caught:
        read(path)
    assert "UTF-8" in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_repository_that_was_edited_by_hand_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "gates").mkdir()
    (tmp_path / "gates" / "config.pbtxt").write_bytes('name: "gates"\r\n'.encode("utf-8-sig"))
    assert ModelReader(tmp_path).config("gates").name == "gates"


OF_THE_PRODUCT = {
    # Written by Countline itself, or by the system.
    "analytics/countline_analytics/api/remarks.py",
    "analytics/countline_analytics/cli/db.py",
    "analytics/countline_analytics/store/scripts.py",
    "analytics/countline_analytics/store/sql/__init__.py",
    "common/countline_common/grpc/logins.py",
    "control-plane/countline_control/audit/protection.py",
    "common/countline_local/demo/site.py",
    "common/countline_local/parts/postgres_leftovers.py",
    "common/countline_local/triton/shipped_models.py",
    "common/countline_common/secrets/secret_files.py",
    "common/countline_local/supervision/folder_lock.py",
    "common/countline_local/supervision/guard.py",
    "common/countline_local/triton/closed.py",
    "common/countline_local/supervision/ports.py",
    "common/countline_local/up/state.py",
    "control-plane/countline_control/cli/support/machine.py",
    "models/countline_demo/cli/scenes.py",
    "models/countline_demo/scenes/render.py",
    "models/countline_models/deploy/golden.py",
    "models/countline_models/pull/manifest.py",
    "models/countline_models/pull/part.py",
    "pipelines/countline_pipelines/planes/deepstream/checks.py",
}
_READS_TEXT = re.compile(r"\.read_text\(|open\((?:\"r\"|encoding|\"rt\")")


def test_no_other_code_reads_text() -> None:
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py") if "migrations" not in file.parts]
    found = {str(file.relative_to(ROOT)) for file in files if _READS_TEXT.search(file.read_text(encoding="utf-8"))}
    assert found <= OF_THE_PRODUCT, "read files of users with countline_common.files.text_files"
