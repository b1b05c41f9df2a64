"""`countline models render-demo`; test_golden_clip.py renders a clip with it."""

import subprocess
from pathlib import Path

from tests.fixtures.forked.command import countline


def test_a_clip_that_does_not_exist_is_refused_with_the_names_that_do(tmp_path: Path) -> None:
    command = [str(countline()), "models", "render-demo", "--out", str(tmp_path), "--only", "moon"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "'moon'" in done.stderr
    assert "plaza, entrance, street, crossing" in done.stderr
