"""How settings that hold a password come out of files."""

import os
import subprocess
from pathlib import Path

from tests.fixtures.docker.images import DOCKER

ENTRYPOINT = DOCKER / "image" / "entrypoint.sh"


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ENTRYPOINT, "sh", "-c", 'printf %s "${COUNTLINE_NATS_URL-unset}"'],
        env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip


def test_a_setting_comes_from_the_file_that_is_named(tmp_path: Path):
    file = tmp_path / "nats url"
    file.write_text("nats://user:pass$word`@host:4222\n")
    assert run(COUNTLINE_NATS_URL_FILE=str(file)).stdout == "nats://user:pass$word`@host:4222"


def test_a_setting_stays_as_it_is_where_no_file_is_named():
    assert run(COUNTLINE_NATS_URL="nats://here").stdout == "nats://here"
    assert run().stdout == "unset"


def test_a_file_that_cannot_be_read_ends_the_start_with_a_hint(tmp_path: Path):
    done = run(COUNTLINE_NATS_URL_FILE=str(tmp_path / "none"))
    assert done.returncode == 1
    assert f"COUNTLINE_NATS_URL_FILE: cannot read {tmp_path / 'none'}" in done.stderr
    assert "hint:" in done.stderr


def test_every_password_that_compose_gives_by_file_is_read():
    compose = (DOCKER / "compose.yaml").read_text()
    given = {word.removeprefix("COUNTLINE_").partition("_FILE")[0] for word in compose.split() if "_FILE:" in word}
    read = set(next(line for line in ENTRYPOINT.read_text().splitlines() if line.startswith("for name in")).split())
    own = {
        "TOKEN_PRIVATE_KEY",
        "TOKEN_PUBLIC_KEY",
        "ADMIN_PASSWORD",
        "MASTER_KEY",
        "WORKER_TOKEN",
        "POSTGRES_PASSWORD",
        "TRITON_SECRET",
    }
    assert given - own <= {word.rstrip(";") for word in read}
