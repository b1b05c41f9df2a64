"""The fields of sites and cameras in a file: where each one lies, how it is written, and what it is without a value."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from countline_control.cameras.domain import (
    Camera,
    CameraSpec,
    LineSpec,
    MaskSpec,
    PlaybackMode,
    Site,
    TransportMode,
    ZoneSpec,
)
from countline_control.cameras.lifecycle import WantedStatus
from countline_control.declarative import forms
from countline_control.declarative.forms import ValueForm
from countline_counting.spec import MaskKind

Thing = TypeVar("Thing", Site, Camera)
_UNSET: Final = (None, "")


@dataclass(frozen=True, slots=True)
class Field(Generic[Thing]):
    """One field of a file, and its place in a site or camera."""

    name: str
    """In the file."""
    path: str
    """In an update mask of the contract."""
    form: ValueForm
    get: Callable[[Thing], Any]
    put: Callable[[Thing, Any], Thing]
    empty: Any = None
    """The value that `null` stands for."""

    def plain(self, thing: Thing) -> forms.Plain:
        """Return the value of a thing as YAML writes it."""
        value = self.get(thing)
        return None if value in _UNSET else self.form.plain(value)


def item_id(item: LineSpec | ZoneSpec | MaskSpec) -> str:
    """Return the id of a line, zone or mask."""
    if isinstance(item, LineSpec):
        return item.line_id
    return item.zone_id if isinstance(item, ZoneSpec) else item.mask_id


def _own(name: str, form: ValueForm, empty: Any = "") -> Field[Camera]:
    return Field(
        name,
        name,
        form,
        lambda camera: getattr(camera, name),
        lambda camera, value: replace(camera, **{name: value}),
        empty,
    )


def _spec(name: str, attribute: str, form: ValueForm, empty: Any) -> Field[Camera]:
    def put(camera: Camera, value: Any) -> Camera:
        return replace(camera, spec=replace(camera.spec, **{attribute: value}))

    return Field(name, f"spec.{attribute}", form, lambda camera: getattr(camera.spec, attribute), put, empty)


def _part(name: str, attribute: str, form: ValueForm, belongs: Callable[[Any], bool]) -> Field[Camera]:
    """Return the field of those lines, zones or masks that `belongs` chooses. Others stay, and so does the order."""

    def get(camera: Camera) -> tuple[Any, ...]:
        return tuple(_unversioned(item) for item in getattr(camera.spec, attribute) if belongs(item))

    def put(camera: Camera, value: Sequence[Any]) -> Camera:
        stored = getattr(camera.spec, attribute)
        items: Any = _in_order(stored, [item for item in stored if not belongs(item)], value)
        return replace(camera, spec=replace(camera.spec, **{attribute: items}))

    return Field(name, f"spec.{attribute}", form, get, put, ())


def _unversioned(item: Any) -> Any:
    return item if isinstance(item, MaskSpec) else replace(item, version=0)


def _in_order(stored: Sequence[Any], kept: Sequence[Any], given: Sequence[Any]) -> tuple[Any, ...]:
    """Return items in the order of the stored ones, then new ones: another order in a file is no change."""
    places: Mapping[str, int] = {item_id(item): i for i, item in enumerate(stored)}
    return tuple(sorted([*kept, *given], key=lambda item: places.get(item_id(item), len(stored))))


def _recorded_at(camera: Camera) -> float | None:
    # Files write whole microseconds.
    return None if camera.spec.recorded_at is None else round(camera.spec.recorded_at, 6)


_STATUSES: Final = {
    each.value: each for each in WantedStatus if each not in (WantedStatus.UNSPECIFIED, WantedStatus.UNKNOWN)
}
_PLAYBACKS: Final = {
    each.value: each for each in PlaybackMode if each not in (PlaybackMode.UNSPECIFIED, PlaybackMode.UNKNOWN)
}
_TRANSPORTS: Final = {
    each.value: each for each in TransportMode if each not in (TransportMode.UNSPECIFIED, TransportMode.UNKNOWN)
}
_EMPTY: Final = CameraSpec()

SITE_FIELDS: Final[tuple[Field[Site], ...]] = (
    Field("title", "title", forms.TEXT, lambda site: site.title, lambda site, value: replace(site, title=value), ""),
    Field(
        "time_zone",
        "time_zone",
        forms.TEXT,
        lambda site: site.time_zone,
        lambda site, value: replace(site, time_zone=value),
        "UTC",
    ),
)
CAMERA_FIELDS: Final[tuple[Field[Camera], ...]] = (
    _own("name", forms.TEXT),
    _own("location", forms.TEXT),
    _own("position", forms.POSITION, None),
    _own("floor", forms.TEXT),
    _own("tags", forms.TEXTS, ()),
    _own("status", forms.word(_STATUSES), WantedStatus.UNSPECIFIED),
    _own("stream_url", forms.TEXT),
    _spec("playback", "playback", forms.word(_PLAYBACKS), PlaybackMode.UNSPECIFIED),
    replace(_spec("recorded_at", "recorded_at", forms.TIME, None), get=_recorded_at),
    _spec("transport", "rtsp_transport", forms.word(_TRANSPORTS), TransportMode.UNSPECIFIED),
    _spec("rate", "processing_rate", forms.NUMBER, _EMPTY.processing_rate),
    _spec("model", "model", forms.TEXT, _EMPTY.model),
    _spec("min_score", "min_score", forms.NUMBER, _EMPTY.min_score),
    _spec("min_track_age", "min_track_age_s", forms.NUMBER, _EMPTY.min_track_age_s),
    _spec("min_track_score", "min_track_score", forms.NUMBER, _EMPTY.min_track_score),
    _spec("anchor", "anchor", forms.ANCHOR, None),
    _part("lines", "lines", forms.LINES, lambda _: True),
    _part("zones", "zones", forms.ZONES, lambda zone: not zone.queue),
    _part("queues", "zones", forms.QUEUES, lambda zone: zone.queue),
    _part("include_masks", "masks", forms.INCLUDE_MASKS, lambda mask: mask.kind is MaskKind.INCLUDE),
    _part("ignore_masks", "masks", forms.IGNORE_MASKS, lambda mask: mask.kind is not MaskKind.INCLUDE),
    _spec("ground", "ground_plane", forms.GROUND, None),
)
LIST_FIELDS: Final = frozenset(field.name for field in CAMERA_FIELDS if field.form.is_list)
