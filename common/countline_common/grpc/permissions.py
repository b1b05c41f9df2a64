"""What a gRPC method asks of its caller, read from the options in the .proto files.

The gRPC server decides by it, and so does whoever shows people what they may do.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

from google.protobuf import descriptor_pool

from countline.v1 import options_pb2

OPEN_SERVICES: Final = frozenset(
    {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"}
)
"""Services of gRPC itself; they tell no more than that we are alive and what this repository publishes."""


@dataclass(frozen=True, slots=True)
class MethodPolicy:
    """What a method asks: nothing (`public`), a permission, or, with neither, more than anybody has."""

    public: bool = False
    permission: str = ""


@cache
def method_policy(method: str) -> MethodPolicy:
    """The policy of a method, named as gRPC names it: `/countline.v1.CameraService/GetCamera`.

    A method that no loaded .proto file knows, or that says nothing, is closed to everybody.
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
