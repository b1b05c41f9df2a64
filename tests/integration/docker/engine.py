"""A Docker engine, and the system that compose runs on it, asked as their user would ask them."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

DOCKER = Path(__file__).resolve().parents[3] / "docker"
STAND_INS = Path(__file__).resolve().parent / "stand_ins"
IMAGES_OF_OTHERS = {"POSTGRES_IMAGE": "postgres", "NATS_IMAGE": "nats", "NGINX_IMAGE": "nginx"}
BUILD_TIMEOUT_S = 1500
COMMAND_TIMEOUT_S = 300


def why_no_engine() -> str:
    """Why nothing can be run here; empty where it can."""
    if not os.environ.get("DOCKER_HOST"):
        return "no Docker engine is named by DOCKER_HOST"
    if shutil.which("docker") is None:
        return "the command `docker` is not installed"
    if run(["docker", "version"], check=False).returncode != 0:
        return f"no Docker engine answers at {os.environ['DOCKER_HOST']}"
    return "" if compose_command() else "neither `docker compose` nor `docker-compose` is installed"


def compose_command() -> list[str]:
    """How compose is called here; empty where it is not installed."""
    if shutil.which("docker") and run(["docker", "compose", "version"], check=False).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else []


def run(
    command: list[str], *, check: bool = True, timeout_s: float = COMMAND_TIMEOUT_S, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command; an error shows what it said."""
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class System:
    """One compose project with volumes of its own."""

    def __init__(self, project: str) -> None:
        self.port = free_port()
        self.environment = {
            "COMPOSE_PROJECT_NAME": project,
            "COMPOSE_PROFILES": "cpu",
            "COUNTLINE_BIND": "127.0.0.1",
            "COUNTLINE_PORT": str(self.port),
            "COUNTLINE_REGISTRY": "countline-test",
            "COUNTLINE_VERSION": "test",
            **{name: os.environ.get(name, f"countline-test/{image}") for name, image in IMAGES_OF_OTHERS.items()},
        }
        self._token = ""

    def compose(self, *words: str, timeout_s: float = COMMAND_TIMEOUT_S, **environment: str) -> str:
        """What a compose command prints."""
        command = [*compose_command(), "-f", str(DOCKER / "compose.yaml"), *words]
        return run(command, timeout_s=timeout_s, **self.environment, **environment).stdout

    def script(self, name: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a script of docker/."""
        return run(["sh", str(DOCKER / name), *words], check=check, timeout_s=BUILD_TIMEOUT_S, **self.environment)

    def build(self) -> None:
        """Build stand-ins for the images that are not named by the environment, and our own."""
        if not all(name in os.environ for name in IMAGES_OF_OTHERS):
            run([str(STAND_INS / "build.sh")], timeout_s=BUILD_TIMEOUT_S)
        self.compose("build", timeout_s=BUILD_TIMEOUT_S)

    def countline(self, *words: str) -> str:
        """What a command prints, in the container of the control-plane."""
        return self.compose("exec", "-T", "control-plane", "countline", *words)

    def container(self, service: str) -> dict[str, Any]:
        """What the engine says about the container of a service."""
        found = self.compose("ps", "-a", "-q", service).split()
        assert len(found) == 1, f"{service}: {found}"
        inspected: list[dict[str, Any]] = json.loads(run(["docker", "inspect", found[0]]).stdout)
        return inspected[0]

    def shell(self, service: str, script: str) -> str:
        """What a script prints inside a container; it may end badly."""
        return run(["docker", "exec", self.container(service)["Id"], "sh", "-c", script], check=False).stdout

    def health(self, service: str) -> str:
        """`healthy`, or the state it is in."""
        state = self.container(service)["State"]
        return str(state.get("Health", {}).get("Status", state["Status"]) if state["Running"] else state["Status"])

    def wait_healthy(self, services: Iterable[str], timeout_s: float = 180.0) -> None:
        for service in services:
            self.wait(lambda service=service: self.health(service) == "healthy", f"{service} is well", timeout_s)

    def wait(self, condition: Callable[[], bool], what: str, timeout_s: float = 120.0) -> None:
        """Wait until something is true; where it does not come true, the logs are shown."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, (
                f"not within {timeout_s:g} s: {what}\n{self.compose('logs', '--tail=15')}"
            )
            time.sleep(0.3)

    def request(self, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer of the gateway; a body makes it a POST."""
        data = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **headers}
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, sent)
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def log_in(self) -> None:
        """As the admin, with the password that README.md says where to find."""
        password = self.shell("control-plane", "cat /var/lib/countline/credentials/admin-password").strip()
        status, _, said = self.request("/api/v1/auth/login", {"username": "admin", "password": password})
        assert status == 200, said
        self._token = json.loads(said)["data"]["tokens"]["access_token"]

    def get(self, path: str) -> Any:
        """The data of a REST answer."""
        status, _, said = self.request(path, Authorization=f"Bearer {self._token}")
        assert status == 200, said
        return json.loads(said)["data"]

    def processes(self, service: str) -> list[str]:
        """The user of each process of a container, by number as the host knows it."""
        top = run(["docker", "top", self.container(service)["Id"], "-eo", "uid,pid,args"]).stdout.splitlines()
        return [line.split()[0] for line in top[1:]]


def make_certificate(folder: Path) -> None:
    """A certificate for localhost that signs itself."""
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    run(["openssl", "req", "-x509", "-nodes", "-days", "2", *kind, *subject, *files])
    for file in folder.iterdir():
        file.chmod(0o644)  # the container's user is nobody here
