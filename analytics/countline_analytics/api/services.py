"""Lists the methods of the contract that HTTP can call, with the permission that each needs."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from google.api import annotations_pb2
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor

import countline.v1
from countline_analytics.api.transcoding import Route, routes
from countline_common.grpc.permissions import MethodPolicy, method_policy


@dataclass(frozen=True, slots=True)
class Method:
    """A unary method with an HTTP annotation."""

    descriptor: MethodDescriptor
    routes: tuple[Route, ...]
    policy: MethodPolicy
    created: Mapping[str, str] = field(default_factory=dict)
    """By path of a collection, the parameter that names an item in it, such as `camera_id`."""

    @property
    def service(self) -> str:
        """Full name of the service."""
        return str(self.descriptor.containing_service.full_name)

    def creates(self, route: Route) -> str:
        """Return the parameter that names what a route creates; empty if the route creates nothing."""
        return self.created.get(route.path, "") if route.method == "POST" else ""

    @property
    def only_reads(self) -> bool:
        """Whether all routes are GET, so that the method changes nothing."""
        return all(route.method == "GET" for route in self.routes)

    @property
    def path(self) -> str:
        """Path in gRPC, such as `/countline.v1.CameraService/GetCamera`."""
        return f"/{self.service}/{self.descriptor.name}"


def contract_files() -> list[FileDescriptor]:
    """Return every .proto file of `countline.v1`, sorted by name."""
    modules = (
        importlib.import_module(f"countline.v1.{info.name}")
        for info in pkgutil.iter_modules(countline.v1.__path__)
        if info.name.endswith("_pb2")
    )
    return sorted((module.DESCRIPTOR for module in modules), key=lambda file: file.name)


def http_methods() -> tuple[Method, ...]:
    """Return the methods that HTTP can call; streams cannot be called."""
    methods = tuple(_methods())
    items = _items(route.path for method in methods for route in method.routes)
    return tuple(replace(method, created=items) for method in methods)


def _methods() -> Iterator[Method]:
    for file in contract_files():
        for service in file.services_by_name.values():
            for descriptor in service.methods:
                opened = tuple(routes(descriptor.GetOptions().Extensions[annotations_pb2.http]))
                if opened and not descriptor.client_streaming and not descriptor.server_streaming:
                    yield Method(descriptor, opened, method_policy(f"/{service.full_name}/{descriptor.name}"))


def _items(paths: Iterable[str]) -> dict[str, str]:
    """Return, by path of a collection, the parameter of its items: `/sites/{site_id}` makes `/sites` a collection."""
    found = {}
    for path in paths:
        collection, _, last = path.rpartition("/")
        if last.startswith("{") and last.endswith("}"):
            found[collection] = last[1:-1]
    return found
