"""Which cameras a list shows, in which order, and where each page begins. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Final

from countline_common.errors import FieldProblem, InvalidInputError
from countline_common.grpc.paging import Page, invalid_page
from countline_control.cameras.domain import CameraObservation, ObservedState
from countline_control.cameras.lifecycle import WantedStatus

ORDERS: Final = ("camera_id", "name", "site_id", "location", "status", "created_at", "updated_at")


@dataclass(frozen=True, slots=True)
class CameraSummary:
    """What a list sorts and filters a camera by, without its secrets."""

    camera_id: str
    site_id: str
    name: str
    location: str
    status: WantedStatus
    model: str
    """As configured; empty for the default model."""
    created_at: float
    updated_at: float


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
    field, direction = _order(order_by)
    if field not in ORDERS or direction not in ("", "asc", "desc"):
        message = f"{order_by[:40]!r} is not an order; give one of {', '.join(ORDERS)}, with ` desc` for the reverse"
        raise InvalidInputError(f"order_by: {message}", fields=(FieldProblem("order_by", message),))


def _order(order_by: str) -> tuple[str, str]:
    field, _, direction = order_by.strip().partition(" ")
    return field or "camera_id", direction.strip()


def is_observed(shown: CameraFilter, camera: CameraSummary, observed: CameraObservation | None) -> bool:
    """Whether a camera passes the fields of a filter that concern what its worker reports."""
    state = observed.state if observed else ObservedState.WAITING
    has_state = shown.observed is ObservedState.UNSPECIFIED or (
        camera.status is WantedStatus.ACTIVE and state is shown.observed
    )
    has_worker = not shown.worker_id or (observed is not None and observed.worker_id == shown.worker_id)
    counting = observed.model if observed else ""
    has_model = not shown.model or _is_of(shown.model, camera.model) or _is_of(shown.model, counting)
    return has_state and has_worker and has_model


def _is_of(wanted: str, model: str) -> bool:
    return model == wanted or model.startswith(f"{wanted}@")


def page_of(
    cameras: Iterable[CameraSummary],
    observations: Mapping[str, CameraObservation],
    shown: CameraFilter,
    wanted: Page,
) -> tuple[list[str], str]:
    """Choose the cameras of one page.

    Args:
        cameras: those that pass the filter's own fields.
        observations: what is observed, by camera; may be empty if the filter needs none.
        shown: filter and order.
        wanted: the page.

    Returns:
        Their ids in order, and the key after which the next page begins; empty if there is none.
    """
    field, direction = _order(shown.order_by)
    keys = [
        (getattr(camera, field), camera.camera_id)
        for camera in cameras
        if not shown.needs_observations or is_observed(shown, camera, observations.get(camera.camera_id))
    ]
    keys.sort(reverse=direction == "desc")
    if wanted.after:
        last = _last(wanted.after, keys)
        keys = [key for key in keys if (key < last if direction == "desc" else key > last)]
    chosen = keys[: wanted.size]
    more = len(keys) > wanted.size
    return [camera_id for _, camera_id in chosen], json.dumps(chosen[-1]) if more else ""


def _last(after: str, keys: list[tuple[str | float, str]]) -> tuple[str | float, str]:
    try:
        value, camera_id = json.loads(after)
    except (ValueError, TypeError) as error:
        raise invalid_page("page_token", "is not one that this service gave; begin without one") from error
    if not isinstance(camera_id, str) or any(isinstance(key, str) != isinstance(value, str) for key, _ in keys[:1]):
        raise invalid_page("page_token", "is not one that this service gave; begin without one")
    return value, camera_id
