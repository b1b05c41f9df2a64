"""Which cameras a list shows, in which order, and where each page begins. Pure."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from countline_common.errors import FieldProblem, InvalidInputError
from countline_common.grpc.paging import invalid_page
from countline_common.grpc.texts import text_problem
from countline_common.untrusted_json import parse_json
from countline_control.cameras.domain import CameraObservation, ObservedState
from countline_control.cameras.lifecycle import WantedStatus

TIMES: Final = ("created_at", "updated_at")
ORDERS: Final = ("camera_id", "name", "site_id", "location", "status", *TIMES)


@dataclass(frozen=True, slots=True)
class CameraFilter:
    """What a list shows; an empty field shows all. A camera must pass every field."""

    site_id: str = ""
    status: WantedStatus = WantedStatus.UNSPECIFIED
    location: str = ""
    """Part of the location, in any case."""
    tag: str = ""
    observed: ObservedState = ObservedState.UNSPECIFIED
    worker_id: str = ""
    model: str = ""
    """`NAME` or `NAME@VERSION`, configured or counting."""
    order_by: str = ""
    """One of `ORDERS`, and ` desc` for the reverse order; empty for the id."""

    @property
    def needs_observations(self) -> bool:
        """Whether the workers' reports decide what is shown."""
        return bool(self.observed or self.worker_id or self.model)

    def key(self) -> str:
        """Return a text that differs for each filter; a page token is valid for one."""
        return json.dumps({name: value for name, value in asdict(self).items() if value}) if self != ALL else ""


ALL: Final = CameraFilter()


def check_order(order_by: str) -> None:
    """Check an order.

    Raises:
        InvalidInputError: it names no field by which cameras are sorted.
    """
    field, direction = order_of(order_by)
    if field not in ORDERS or direction not in ("", "asc", "desc"):
        message = f"{order_by[:40]!r} is not an order; give one of {', '.join(ORDERS)}, with ` desc` for the reverse"
        raise InvalidInputError(f"order_by: {message}", fields=(FieldProblem("order_by", message),))


def order_of(order_by: str) -> tuple[str, str]:
    """Return the field and the direction of an order."""
    field, _, direction = order_by.strip().partition(" ")
    return field or "camera_id", direction.strip()


# What workers report ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ObservedCameras:
    """The fields of a filter that concern what workers report, as ids of cameras."""

    included: frozenset[str] | None = None
    """Only these can pass; None for no limit."""
    excluded: frozenset[str] = frozenset()
    """These cannot pass."""
    counted: frozenset[str] = frozenset()
    """Cameras that are counted with the wanted model."""


def observed_cameras(shown: CameraFilter, observations: Mapping[str, CameraObservation]) -> ObservedCameras:
    """Translate the fields of a filter that concern what workers report.

    Args:
        shown: the filter.
        observations: what is observed, by camera. A camera that is not among them waits.
    """
    included, excluded = None, frozenset[str]()
    if shown.observed is ObservedState.WAITING:
        excluded = frozenset(name for name, each in observations.items() if each.state is not shown.observed)
    elif shown.observed:
        included = frozenset(name for name, each in observations.items() if each.state is shown.observed)
    if shown.worker_id:
        held = frozenset(name for name, each in observations.items() if each.worker_id == shown.worker_id)
        included = held if included is None else included & held
    counted = frozenset(name for name, each in observations.items() if shown.model and _is_of(shown.model, each.model))
    return ObservedCameras(included, excluded, counted)


def _is_of(wanted: str, model: str) -> bool:
    return model == wanted or model.startswith(f"{wanted}@")


# Places in a list ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PageKey:
    """The place of a camera in a list: the value by which it is sorted, and its id."""

    value: str | datetime
    camera_id: str

    def text(self) -> str:
        """Return the key as a page token holds it."""
        value = self.value.isoformat() if isinstance(self.value, datetime) else self.value
        return json.dumps([value, self.camera_id], ensure_ascii=False)


def page_key(text: str, order_by: str) -> PageKey:
    """Read the key of a page token.

    Raises:
        InvalidInputError: it is not one that this service made for this order.
    """
    found = _read_key(text, is_time=order_of(order_by)[0] in TIMES)
    if found is None:
        raise invalid_page("page_token", "is not one that this service gave; begin without one")
    return found


def _read_key(text: str, *, is_time: bool) -> PageKey | None:
    try:
        value, camera_id = parse_json(text)
        moment = datetime.fromisoformat(value) if is_time else None
    except (ValueError, TypeError):
        return None
    if any(not isinstance(each, str) or text_problem(each) for each in (value, camera_id)):
        return None
    if moment is None:
        return PageKey(value, camera_id)
    return PageKey(moment, camera_id) if moment.tzinfo is not None else None
