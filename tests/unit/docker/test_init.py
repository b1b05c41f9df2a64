"""What the service `init` puts into the volumes."""

import stat
import subprocess
from pathlib import Path

import pytest
from tests.fixtures.docker.images import DOCKER, load

from countline_common.grpc.tokens import TokenVerifier
from countline_control.audit.setup import audit_signer
from countline_local.parts.nats import find_binary

VOLUMES = ("credentials", "secrets-control", "secrets-ingest", "secrets-api", "secrets-worker", "secrets-triton",
           "secrets-nats", "secrets-postgres", "secrets-audit",
           "models", "run")  # fmt: skip


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Fresh volumes, filled once."""
    for name in VOLUMES:
        (tmp_path / name).mkdir()
    fill(tmp_path)
    return tmp_path


def fill(volumes: Path) -> None:
    load("init").main(volumes, "postgres:5432", "nats:4222")


def secrets(volumes: Path) -> dict[str, str]:
    """Every secret, by volume and name."""
    folders = [volumes / name for name in VOLUMES if name.startswith(("secrets-", "credentials"))]
    return {str(file.relative_to(volumes)): file.read_text() for folder in folders for file in folder.iterdir()}


def test_each_service_gets_the_secrets_of_its_own(volumes: Path):
    given = {name: sorted(file.name for file in (volumes / name).iterdir()) for name in VOLUMES if "secrets" in name}
    assert given == {
        "secrets-control": [
            "admin-password",
            "audit-key.pem",
            "auth-dsn",
            "cameras-dsn",
            "master-key",
            "nats-url",
            "token-key.pem",
            "token-key.pub.pem",
            "triton-secret",
        ],
        "secrets-ingest": ["analytics-dsn", "nats-url"],
        "secrets-api": ["analytics-dsn", "nats-url", "token-key.pub.pem"],
        "secrets-worker": ["nats-url", "triton-secret", "worker-token"],
        "secrets-triton": ["triton-secret"],
        "secrets-nats": ["authorization.conf"],
        "secrets-postgres": ["analytics-password", "auth-password", "cameras-password", "postgres-password"],
        "secrets-audit": ["superuser-dsn"],
    }


def test_only_the_owner_can_read_a_secret(volumes: Path):
    files = [volumes / name for name in secrets(volumes)]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_second_start_keeps_every_secret_but_the_tokens_of_workers(volumes: Path):
    before = secrets(volumes)
    fill(volumes)
    after = secrets(volumes)
    assert {name for name in before if before[name] != after[name]} <= {
        "credentials/worker-token", "secrets-worker/worker-token",
    }  # fmt: skip


def test_passwords_differ_and_fit_the_addresses_that_carry_them(volumes: Path):
    found = secrets(volumes)
    passwords = {name: found[f"secrets-postgres/{name}-password"].strip() for name in ("auth", "cameras", "analytics")}
    assert len({*passwords.values(), found["secrets-postgres/postgres-password"].strip()}) == 4
    for volume, name in (("control", "auth"), ("control", "cameras"), ("ingest", "analytics"), ("api", "analytics")):
        address = f"postgresql://{name}:{passwords[name]}@postgres:5432/{name}"
        assert found[f"secrets-{volume}/{name}-dsn"].strip() == address
    superuser = found["secrets-postgres/postgres-password"].strip()
    assert found["secrets-audit/superuser-dsn"].strip() == f"postgresql://postgres:{superuser}@postgres:5432/auth"


def test_the_worker_is_known_by_the_key_that_analytics_has(volumes: Path):
    verifier = TokenVerifier.from_file(volumes / "secrets-api" / "token-key.pub.pem")
    principal = verifier.verify((volumes / "secrets-worker" / "worker-token").read_text().strip())
    compose = (DOCKER / "compose.yaml").read_text()
    assert f"COUNTLINE_WORKER_NAME: {principal.name}\n" in compose
    assert principal.permissions == {"worker:connect", "worker:report"}


def test_the_audit_is_signed_with_a_key_that_is_in_the_backup(volumes: Path):
    """The volume with the secrets of the control-plane is read-only, so auth cannot make the key itself."""
    key = volumes / "credentials" / "audit-key.pem"
    assert key.read_text() == (volumes / "secrets-control" / "audit-key.pem").read_text()
    assert audit_signer(key).public.pem.startswith("-----BEGIN PUBLIC KEY-----")


def test_the_shipped_models_are_there_for_triton(volumes: Path):
    assert (volumes / "models" / "repository" / "demo_detector" / "config.pbtxt").is_file()


def test_each_service_is_a_user_of_nats_of_its_own(volumes: Path):
    found = secrets(volumes)
    urls = {name: found[f"secrets-{name}/nats-url"].strip() for name in ("control", "ingest", "api", "worker")}
    assert len({url.partition("@")[0].rpartition(":")[2] for url in urls.values()}) == 4
    authorization = found["secrets-nats/authorization.conf"]
    for name, url in urls.items():
        user, _, password = url.removeprefix("nats://").partition("@")[0].partition(":")
        assert (user, f'user: "{name}"\n    password: "{password}"' in authorization) == (name, True)
    assert "credentials/nats-password" not in found
    assert '"countline"' not in authorization, "the user of earlier releases, for whom there is no file here"


def test_nats_accepts_the_users_also_those_of_an_earlier_release(volumes: Path):
    (volumes / "credentials" / "nats-password").write_text("of-before\n")
    fill(volumes)
    assert 'user: "countline"\n    password: "of-before"' in secrets(volumes)["secrets-nats/authorization.conf"]
    folder = volumes / "etc" / "nats"
    folder.mkdir(parents=True)
    configuration = (DOCKER / "nats" / "nats-server.conf").read_text()
    assert "include ../../secrets/authorization.conf" in configuration
    (folder / "countline.conf").write_text(configuration)
    (volumes / "secrets").symlink_to("secrets-nats")
    done = subprocess.run(
        [find_binary(), "-t", "-c", folder / "countline.conf"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
