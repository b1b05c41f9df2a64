"""What a method requires of its caller, read from the options in the .proto files."""

from dataclasses import dataclass
from functools import cache
from typing import Final

from google.protobuf import descriptor_pool

from countline.v1 import options_pb2

OPEN_SERVICES: Final = frozenset(
    {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"}
)
"""Services of gRPC itself; they show only health and the published contract."""


@dataclass(frozen=True, slots=True)
class MethodPolicy:
    """The requirement of a method: none (`public`) or a permission. With neither, the method is closed."""

    public: bool = False
    permission: str = ""


@cache
def method_policy(method: str) -> MethodPolicy:
    """The policy of a method, named as gRPC names it: `/countline.v1.CameraService/GetCamera`.

    An unknown method, or one without these options, is closed to all callers.
    """
    service, _, name = method.strip("/").partition("/")
    if service in OPEN_SERVICES:
        return MethodPolicy(public=True)
    try:
        descriptor = descriptor_pool.Default().FindMethodByName(f"{service}.{name}")
    except KeyError:
        return MethodPolicy()
    options = descriptor.GetOptions()
    return MethodPolicy(
        public=options.Extensions[options_pb2.public], permission=options.Extensions[options_pb2.permission]
    )
