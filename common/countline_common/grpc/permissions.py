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
_READS: Final = ":read"


@dataclass(frozen=True, slots=True)
class ResourceRule:
    """What a method concerns, as `countline.v1.Resource`."""

    site: str = ""
    """Path of the field that names a site."""
    camera: str = ""
    """Path of the field that names a camera."""
    filtered: bool = False
    """The method returns only what lies within reach."""
    everything: bool = False
    """The method concerns the whole system."""
    own: bool = False
    """The method concerns the caller itself."""


@dataclass(frozen=True, slots=True)
class MethodPolicy:
    """The requirement of a method: none (`public`), or a permission over a resource. With neither it is closed."""

    public: bool = False
    permission: str = ""
    resource: ResourceRule | None = None
    audited: bool = False
    """Each call leaves a row in the audit: every method does that is not declared to read or to be `unaudited`."""


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
    options = descriptor.GetOptions().Extensions
    permission = options[options_pb2.permission]
    return MethodPolicy(
        public=options[options_pb2.public],
        permission=permission,
        resource=_rule(options[options_pb2.resource]),
        audited=not permission.endswith(_READS) and not options[options_pb2.unaudited],
    )


def _rule(message: options_pb2.Resource) -> ResourceRule | None:
    rule = ResourceRule(message.site, message.camera, message.filtered, message.everything, message.own)
    return rule if rule != ResourceRule() else None
