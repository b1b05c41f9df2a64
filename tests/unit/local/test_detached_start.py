"""What `countline up --detach` waits for."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from countline_common.errors import UnavailableError
from countline_common.settings import DataFolder
from countline_local.cli import up


def test_a_process_that_answers_late_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On an overloaded machine, the command ended with "does not answer", while the system started."""
    answers = iter((UnavailableError("timed out"), {"ready": True, "pid": os.getpid(), "listeners": {}, "parts": []}))

    def read_status(_: DataFolder) -> dict[str, object]:
        answer = next(answers)
        if isinstance(answer, UnavailableError):
            raise answer
        return answer

    folder = DataFolder(tmp_path)
    folder.credentials.mkdir()
    (folder.credentials / "admin-password").write_text("seven green umbrellas")
    monkeypatch.setattr(up, "read_status", read_status)
    process = SimpleNamespace(pid=os.getpid(), poll=lambda: None)
    monkeypatch.setattr(up, "_start_again", lambda _: process)
    up._detach(folder, json_output=True)
    assert '"ready": true' in capsys.readouterr().out
