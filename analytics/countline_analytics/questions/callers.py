"""The caller of a request."""

from dataclasses import dataclass

from countline_common.access.scopes import Reach
from countline_common.grpc.tokens import Principal


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller, and the header with which analytics calls other services on the caller's behalf."""

    principal: Principal
    authorization: str
    reach: Reach
    """Sites and cameras over which the caller holds the permission of the request."""
