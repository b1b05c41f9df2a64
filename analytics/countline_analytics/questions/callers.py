"""Who asks."""

from dataclasses import dataclass

from countline_common.grpc.tokens import Principal


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and the header with which other services are asked in their name."""

    principal: Principal
    authorization: str
