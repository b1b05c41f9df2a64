"""What compose starts, read from its file."""

import re
from functools import cache
from typing import Any

import pytest
import yaml
from tests.fixtures.repository import REPOSITORY

from countline_common.secrets.core_dumps import LIMIT_BYTES
from countline_local.parts.postgres import LOG_WITHOUT_VALUES

DOCKER = REPOSITORY / "docker"
PARTS = {"init", "postgres", "nats", "triton", "triton-gpu", "control-plane", "ingest", "api", "worker", "worker-gpu"}
SERVICES = {*PARTS, "gateway", "demo", "protect-audit"}
ONCE = {"init": "no", "demo": "no", "protect-audit": "on-failure:5"}
"""Services that end, and when they are started again."""
OURS = {"init", "triton", "control-plane", "ingest", "api", "worker", "worker-gpu", "gateway", *ONCE}


@cache
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return found


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = compose()["services"][name]
    return found


def defaults() -> dict[str, str]:
    lines = (line.partition("=") for line in (DOCKER / ".env").read_text().splitlines() if "=" in line)
    return {name: value for name, _, value in lines if not name.startswith("#")}


def sources(name: str) -> set[str]:
    """The volumes and folders that a service mounts."""
    volumes = service(name).get("volumes", [])
    return {
        each["source"] if isinstance(each, dict) else each.rpartition(":/")[0].partition(":/")[0] for each in volumes
    }


def test_compose_starts_the_parts_of_the_system_and_nothing_else():
    assert set(compose()["services"]) == SERVICES


def test_only_the_gateway_is_published_and_on_this_machine_alone():
    assert {name for name in SERVICES if service(name).get("ports")} == {"gateway"}
    assert service("gateway")["ports"] == ["${COUNTLINE_BIND:-127.0.0.1}:${COUNTLINE_PORT:-8080}:8080"]
    assert defaults()["COUNTLINE_BIND"] == "127.0.0.1"


def test_the_networks_of_databases_bus_and_triton_lead_nowhere_else():
    networks = compose()["networks"]
    assert {name for name, settings in networks.items() if not settings.get("internal")} == {"published", "outside"}
    assert set(service("postgres")["networks"]) == {"database"}
    assert set(service("nats")["networks"]) == {"back"}
    assert set(service("triton")["networks"]) == set(service("triton-gpu")["networks"]) == {"inference"}
    assert {name for name in SERVICES if "inference" in service(name).get("networks", ())} == {
        "triton", "triton-gpu", "control-plane", "worker", "worker-gpu",
    }  # fmt: skip
    assert set(service("gateway")["networks"]) == {"front", "published"}


def test_postgresql_logs_no_values_of_rows_and_statements():
    assert service("postgres")["command"] == [
        "postgres",
        *(f"-c{name}={value}" for name, value in LOG_WITHOUT_VALUES.items()),
    ]


def test_who_is_believed_about_the_address_of_a_browser_is_alone_in_its_network():
    """The gateway tells the API, and the API tells auth; a worker, which reads what cameras send, tells nobody."""
    environment = {name: service(name).get("environment", {}) for name in SERVICES}
    for network, teller, informed, variable in (
        ("front", "gateway", "api", "COUNTLINE_GATEWAY_TRUSTED_PROXIES"),
        ("login", "api", "control-plane", "COUNTLINE_TRUSTED_PROXIES"),
    ):
        assert {name for name in SERVICES if network in service(name).get("networks", ())} == {teller, informed}
        (subnet,) = compose()["networks"][network]["ipam"]["config"]
        assert environment[informed][variable] == subnet["subnet"]
    assert service("control-plane")["networks"]["login"]["aliases"] == ["auth"]
    assert environment["api"]["COUNTLINE_AUTH_ADDRESS"] == "auth:3001"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_part_has_no_privilege_a_limit_and_a_root_that_cannot_be_written(name: str):
    part = service(name)
    assert part["read_only"] is True
    assert part["cap_drop"] == ["ALL"]
    assert part["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "ipc", "devices"} & set(part)
    assert part["mem_limit"]
    assert part["pids_limit"]
    assert part["ulimits"] == {"core": LIMIT_BYTES}
    assert part["restart"] == ONCE.get(name, "unless-stopped")


@pytest.mark.parametrize("name", sorted(SERVICES - OURS))
def test_an_image_of_others_runs_as_our_user_and_says_how_it_is(name: str):
    assert service(name)["user"] == "10001:10001"
    assert service(name)["healthcheck"]["test"]


@pytest.mark.parametrize("name", sorted(OURS))
def test_nothing_of_ours_is_run_as_another_user_than_its_image_says(name: str):
    assert "user" not in service(name)


def test_images_are_ours_or_named_by_tag():
    for name in SERVICES:
        image = service(name)["image"]
        if name in OURS:
            assert re.fullmatch(
                r"\$\{COUNTLINE_REGISTRY:-countline}/[a-z-]+:\$\{COUNTLINE_VERSION:-\d+\.\d+\.\d+}", image
            )
        else:
            assert "@sha256" not in image
            assert not image.endswith(":latest")


def test_defaults_stand_in_the_file_and_in_dot_env_alike():
    text = (DOCKER / "compose.yaml").read_text()
    for name, default in re.findall(r"\$\{([A-Z_0-9]+):-([^}]*)}", text):
        if name != "COUNTLINE_REVISION":  # said by whoever builds, such as `make images`
            assert defaults().get(name, "") == default, name


def test_each_service_mounts_the_secrets_of_its_own_and_only_init_all_of_them():
    mounted = {
        name: {each for each in sources(name) if each.startswith("secrets-") or each == "credentials"}
        for name in SERVICES
    }
    assert mounted.pop("init") == {
        "credentials", "secrets-control", "secrets-ingest", "secrets-api", "secrets-worker", "secrets-triton",
        "secrets-nats", "secrets-postgres", "secrets-audit",
    }  # fmt: skip
    assert {name: found for name, found in mounted.items() if found} == {
        "postgres": {"secrets-postgres"},
        "protect-audit": {"secrets-audit"},
        "nats": {"secrets-nats"},
        "triton": {"secrets-triton"},
        "triton-gpu": {"secrets-triton"},
        "control-plane": {"secrets-control"},
        "ingest": {"secrets-ingest"},
        "api": {"secrets-api"},
        "worker": {"secrets-worker"},
        "worker-gpu": {"secrets-worker"},
    }


def test_the_audit_is_protected_at_each_start_once_its_tables_exist():
    """By a service that reaches PostgreSQL and nothing else, and that no other service waits for."""
    protecting = service("protect-audit")
    assert protecting["command"] == ["countline", "audit", "protect", "--dsn-file", "/secrets/superuser-dsn"]
    assert protecting["networks"] == ["database"]
    assert protecting["depends_on"]["control-plane"] == {"condition": "service_healthy"}
    assert not [name for name in SERVICES if "protect-audit" in service(name).get("depends_on", ())]


def test_no_password_stands_in_the_environment():
    for name in SERVICES:
        for variable, value in service(name).get("environment", {}).items():
            if re.search(r"PASSWORD|DSN|NATS_URL|TOKEN|KEY", variable):
                assert variable.endswith("_FILE"), f"{name}: {variable}"
                assert value.startswith(("/secrets/", "/var/lib/countline/credentials/"))


@pytest.mark.parametrize(
    ("profile", "triton", "worker"), [("cpu", "triton", "worker"), ("gpu", "triton-gpu", "worker-gpu")]
)
def test_a_profile_is_whole_in_itself(profile: str, triton: str, worker: str):
    active = {name for name in SERVICES if profile in service(name).get("profiles", [profile])}
    assert {triton, worker} <= active
    for name in active:
        assert set(service(name).get("depends_on", ())) <= active, name


def test_worker_and_triton_share_the_memory_that_frames_lie_in():
    for name in ("triton", "triton-gpu", "worker", "worker-gpu"):
        assert "frames:/dev/shm" in service(name)["volumes"]
    assert compose()["volumes"]["frames"]["driver_opts"]["type"] == "tmpfs"


def test_files_that_are_mounted_exist():
    for file in ("compose.yaml", "compose.tls.yaml"):
        text = (DOCKER / file).read_text()
        for path in re.findall(r"- (\./[^:]+):", text):
            assert (DOCKER / path).is_file(), path


def test_the_monitor_of_nats_is_reached_only_from_its_own_container():
    """It knows no login: every other container could list the clients of NATS."""
    configuration = (DOCKER / "nats" / "nats-server.conf").read_text()
    assert re.findall(r"^\s*(?:http|https|http_port|monitor_port)\s*:\s*(\S+)", configuration, re.MULTILINE) == [
        "127.0.0.1:8222"
    ]
