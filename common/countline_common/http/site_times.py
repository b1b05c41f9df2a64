"""Reads times that a user writes without an offset: they are those of the site, not of the user's machine."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import date, datetime
from typing import Any, Final

from countline_common.errors import InvalidInputError
from countline_common.site_zones import SiteZones
from countline_common.times import parse_rfc3339

SITES: Final = "/api/v1/sites"
CAMERAS: Final = "/api/v1/cameras"
PAGE_SIZE: Final = "1000"
HINT: Final = "write a time such as 2026-03-01T12:00:00Z"

Rest = Callable[[str, Mapping[str, str]], Awaitable[dict[str, Any]]]
"""Returns the data of a GET: path, query parameters."""


async def read_times(rest: Rest, texts: Mapping[str, str | None], camera_id: str | None) -> dict[str, datetime]:
    """Return times with their offsets, by option; an absent one is left out.

    Args:
        rest: asks the server for sites and cameras.
        texts: option → what the user wrote.
        camera_id: the camera that the request is about; None for all cameras.

    Raises:
        InvalidInputError: a text is not a time, or has no offset although the sites have several time zones.
        CountlineError: the server does not answer.
    """
    moments = {option: parse_option(option, text) for option, text in texts.items() if text is not None}
    local = [option for option, moment in moments.items() if moment.tzinfo is None]
    if local:
        zones = await _zones(rest, camera_id, local[0])
        moments.update({option: zones.moment(moments[option]) for option in local})
    return moments


def parse_option(option: str, text: str) -> datetime:
    """Return the time in an option; it may have no offset.

    Raises:
        InvalidInputError: the text is not a time.
    """
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise InvalidInputError(f"--{option}: {text!r} is not a time", hint=HINT) from error


async def _zones(rest: Rest, camera_id: str | None, option: str) -> SiteZones:
    """Return the time zones of a camera's site; without a camera, those that all sites share."""
    sites = {site["site_id"]: zones_of_site(site) for site in await _all(rest, SITES, "sites")}
    if camera_id is not None:
        cameras = {camera["camera_id"]: camera["site_id"] for camera in await _all(rest, CAMERAS, "cameras")}
        if camera_id in cameras and cameras[camera_id] in sites:
            return sites[cameras[camera_id]]
    shared = set(sites.values())
    if len(shared) == 1:
        return shared.pop()
    why = "the sites have several time zones" if shared else "there is no site whose time zone it could have"
    raise InvalidInputError(
        f"--{option} has no offset, and {why}", hint="write an offset, such as 2026-03-01T12:00:00Z"
    )


async def _all(rest: Rest, path: str, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        page = await rest(path, {"page_size": PAGE_SIZE, "page_token": token})
        found += page.get(name, ())
        token = page.get("next_page_token", "")
        if not token:
            return found


def zones_of_site(site: Mapping[str, Any]) -> SiteZones:
    """Return the time zones of a site, as REST shows it."""
    earlier = ((each["time_zone"], date.fromisoformat(each["until"])) for each in site.get("earlier_time_zones", ()))
    return SiteZones.of(site["time_zone"], earlier)
