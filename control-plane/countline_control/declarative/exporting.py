"""Writes sites and cameras as a file that `countline apply` reads. No password is written."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import yaml

from countline_control.cameras import sources
from countline_control.cameras.domain import Camera, Site
from countline_control.declarative.fields import CAMERA_FIELDS, SITE_FIELDS
from countline_control.declarative.stating import CAMERAS, SITE, SITES

_HEAD: Final = """\
# Apply it with: countline apply -f FILE. A field that is left out stays as it is; null stands for the default.
# *** keeps the stored password. For another server, write password_env or password_file beside stream_url.
"""
_DUMPER: Final[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def document_of(sites: Iterable[Site], cameras: Sequence[Camera]) -> dict[str, Any]:
    """Return sites and their cameras in the form of a file."""
    return {
        SITES: {site.site_id: {each.name: each.plain(site) for each in SITE_FIELDS} for site in sites},
        CAMERAS: {camera.camera_id: _camera(camera) for camera in cameras},
    }


def file_text(document: dict[str, Any]) -> str:
    """Return a document as the text of a file."""
    text: str = yaml.dump(document, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=1_000)
    return _HEAD + text


def _camera(camera: Camera) -> dict[str, Any]:
    # A caller with `camera:secrets` reads passwords.
    shown = replace(camera, stream_url=sources.masked(camera.stream_url))
    return {SITE: camera.site_id} | {each.name: each.plain(shown) for each in CAMERA_FIELDS}
