"""Calls that go through a proxy which does not answer."""

from pathlib import Path

import pytest

from countline.v1.cameras_pb2 import ListSitesRequest
from countline_common.errors import UnavailableError
from countline_common.grpc.client import connect
from countline_common.grpc.discovery import ServerProfile
from countline_common.grpc.endpoints import Endpoints
from countline_common.grpc.logins import LoginFile

ELSEWHERE = "192.0.2.1:3001"  # of documentation: RFC 5737
DEAD_PROXY = "http://user:secret@127.0.0.1:9"


@pytest.fixture(autouse=True)
def proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "https_proxy", "no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", DEAD_PROXY)


@pytest.mark.parametrize("api_key", ["", "cl_any"])
async def test_a_server_behind_a_dead_proxy_is_an_error_that_names_the_proxy(api_key: str, tmp_path: Path) -> None:
    """The login did not name it, though every other command did."""
    endpoints = Endpoints(auth=ELSEWHERE, cameras=ELSEWHERE, workers=ELSEWHERE, models=ELSEWHERE, gateway="")
    target = ServerProfile(endpoints, LoginFile(tmp_path / "login.json"), "elsewhere", api_key=api_key)
    with pytest.raises(UnavailableError) as refused:
        await _call(target)
    assert "http_proxy is set" in refused.value.hint
    assert "add 192.0.2.1 to no_proxy" in refused.value.hint
    assert "secret" not in f"{refused.value}{refused.value.hint}"


async def _call(target: ServerProfile) -> None:
    async with connect(target) as client:
        if client.session.has_key:
            await client.cameras.ListSites(ListSitesRequest(), timeout=5)
        else:
            await client.session.log_in("vera", "password")
