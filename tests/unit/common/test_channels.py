"""Which connections go to this machine, and so past a proxy."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common.grpc.channels import channel_options, proxy_remark
from countline_common.hosts import host_of, is_this_machine

HERE = ("127.0.0.1:1", "127.9.8.7:1", "localhost:1", "LOCALHOST.:1", "api.localhost:1", "[::1]:1", "0.0.0.0:1")
ELSEWHERE = ("example.org:1", "192.0.2.7:1", "[2001:db8::7]:1", "localhost.example.org:1", "")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("address", [*HERE, f"{socket.gethostname()}:1"])
def test_this_machine_is_reached_without_a_proxy(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:secret@proxy:3128")
    assert ("grpc.enable_http_proxy", 0) in channel_options(address)
    assert proxy_remark(address) == ""


@pytest.mark.parametrize("address", ELSEWHERE)
def test_other_machines_are_reached_as_the_environment_says(address: str) -> None:
    assert "grpc.enable_http_proxy" not in dict(channel_options(address))
    assert proxy_remark(address) == ""


def test_an_error_names_the_variable_and_not_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:secret@proxy:3128")
    remark = proxy_remark("example.org:3001")
    assert "http_proxy" in remark
    assert "add example.org to no_proxy" in remark
    assert "secret" not in remark


@given(st.text())
def test_any_text_has_a_host_or_none(text: str) -> None:
    assert isinstance(is_this_machine(host_of(text)), bool)


def test_hosts_of_addresses_and_urls() -> None:
    assert host_of("http://user:p@127.0.0.1:8080/x?y") == "127.0.0.1"
    assert host_of("[::1]:50051") == "::1"
    assert host_of("http://[::1") == ""
