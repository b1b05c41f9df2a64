"""NGINX takes the gateway's configuration, with and without TLS; no engine is needed, only the program."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.fixtures.docker.engine import DOCKER, make_certificate

from countline_analytics.api.gateway import MODEL_CHANGE_TIMEOUT_S
from countline_control.serve.plane import MODEL_CALL_LIMIT_S

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
GATEWAY = DOCKER / "gateway"

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt install nginx-light")


def check(folder: Path, listen: str) -> str:
    """What `nginx -t` says about the configuration."""
    shutil.copy(GATEWAY / "nginx.conf", folder / "nginx.conf")
    (folder / "mime.types").write_text("types { text/html html; }\n")
    (folder / "listen.conf").write_text(listen)
    done = subprocess.run(
        [str(NGINX), "-t", "-e", "/dev/stderr", "-c", str(folder / "nginx.conf")],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_nginx_takes_the_configuration_without_a_warning(tmp_path: Path):
    said = check(tmp_path, (GATEWAY / "listen.conf").read_text())
    assert "[warn]" not in said.replace('the "user" directive', "")


def test_nginx_waits_longer_than_the_api_for_changes_of_models():
    text = (GATEWAY / "nginx.conf").read_text()
    (waits_s,) = re.findall(r"location \^~ /api/v1/ai-models/ \{[^}]*proxy_read_timeout (\d+)s;", text)
    assert MODEL_CALL_LIMIT_S < MODEL_CHANGE_TIMEOUT_S < float(waits_s)


def test_nginx_takes_the_configuration_for_tls(tmp_path: Path):
    make_certificate(tmp_path)
    check(tmp_path, (GATEWAY / "tls.conf").read_text().replace("/tls/", f"{tmp_path}/"))
