"""`countline models render-demo`, as `countline up` calls it: in a process of its own, a JSON line per clip."""

import json
import subprocess
from pathlib import Path

import av
import pytest
from tests.fixtures.forked.command import countline


def render(out: Path) -> tuple[list[dict], str]:
    done = subprocess.run(
        [str(countline()), "models", "render-demo", "--out", str(out), "--only", "street", "--json"],
        capture_output=True,
        text=True,
        timeout=170,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.slow
def test_a_clip_is_rendered_once_and_announced_each_time(tmp_path: Path) -> None:
    (first,), _ = render(tmp_path)
    clip = Path(first["path"])
    with av.open(str(clip)) as container:
        frames = sum(1 for _ in container.decode(video=0))
    assert frames == first["frames"] == first["duration_s"] * first["fps"]
    written = clip.stat().st_mtime_ns
    (again,), _ = render(tmp_path)
    assert again == first
    assert clip.stat().st_mtime_ns == written


def test_a_clip_that_does_not_exist_is_refused_with_the_names_that_do(tmp_path: Path) -> None:
    command = [str(countline()), "models", "render-demo", "--out", str(tmp_path), "--only", "moon"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "'moon'" in done.stderr
    assert "plaza, entrance, street, crossing" in done.stderr
