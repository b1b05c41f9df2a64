"""The sites of cameras are remembered for a moment only."""

import asyncio

import pytest

from countline_common.access import camera_sites
from countline_common.access.camera_sites import KEPT_S, CameraSites


class Cameras:
    """Where cameras are, and how often somebody asked."""

    def __init__(self) -> None:
        self.sites = {"gate": "north"}
        self.asked: list[str] = []
        self.now = 100.0
        self.known = CameraSites(self.look_up, lambda: self.now)

    async def look_up(self, camera_id: str) -> str:
        self.asked.append(camera_id)
        return self.sites.get(camera_id, "")

    def site_of(self, camera_id: str) -> str:
        return asyncio.run(self.known.site_of(camera_id))


def test_a_camera_is_looked_up_once_in_a_while() -> None:
    cameras = Cameras()
    assert [cameras.site_of("gate") for _ in range(3)] == ["north"] * 3
    assert cameras.asked == ["gate"]
    cameras.sites["gate"] = "south"
    cameras.now += KEPT_S
    assert cameras.site_of("gate") == "south"


def test_a_camera_that_was_unknown_is_found_as_soon_as_it_exists() -> None:
    cameras = Cameras()
    assert cameras.site_of("door") == ""
    cameras.sites["door"] = "north"
    assert cameras.site_of("door") == "north"


def test_it_keeps_a_bounded_number_of_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_sites, "MOST_KEPT", 2)
    cameras = Cameras()
    cameras.sites |= {"a": "north", "b": "north"}
    for camera_id in ("gate", "a", "b", "gate"):
        cameras.site_of(camera_id)
    assert cameras.asked == ["gate", "a", "b", "gate"]
