"""Errors survive the way over gRPC: kind, words, hint and fields."""

from dataclasses import dataclass

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from countline_common import errors
from countline_common.errors import CountlineError, FieldProblem, InternalError, UnavailableError
from countline_common.grpc.errors import from_rpc_error, to_status, translated


@dataclass
class Failure(grpc.RpcError):
    """What a client gets: as grpc.aio's own, made by hand."""

    status: grpc.StatusCode
    words: str
    trailing: tuple = ()

    def code(self) -> grpc.StatusCode:
        return self.status

    def details(self) -> str:
        return self.words

    def trailing_metadata(self) -> tuple:
        return self.trailing


def over_the_wire(error: CountlineError, request_id: str = "") -> Failure:
    status = rpc_status.to_status(to_status(error, request_id))
    return Failure(status.code, status.details, tuple(status.trailing_metadata))


ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CountlineError)]
KINDS = [kind for kind in ALL if kind is not CountlineError and "code" in vars(kind)]
"""Those that travel. A kind without a code of its own is raised and handled on one side."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_error_arrives_as_itself(kind: type[CountlineError]) -> None:
    fields = (FieldProblem("spec.lines[0].points", "is empty"),)
    arrived = from_rpc_error(over_the_wire(kind("it does not work", hint="do this", fields=fields)))
    assert type(arrived) is kind
    assert (arrived.message, arrived.hint, arrived.fields) == ("it does not work", "do this", fields)


def test_a_subclass_arrives_as_the_kind_that_its_code_stands_for() -> None:
    class CameraGoneError(errors.NotFoundError):
        pass

    status = to_status(CameraGoneError("gone"))
    assert b"CAMERA_GONE" in status.details[0].value
    assert type(from_rpc_error(over_the_wire(CameraGoneError("gone")))) is errors.NotFoundError


def test_the_number_of_the_call_arrives() -> None:
    arrived = rpc_status.from_call(over_the_wire(InternalError("oops"), "abc123"))
    info = error_details_pb2.RequestInfo()
    assert any(detail.Unpack(info) for detail in arrived.details)
    assert info.request_id == "abc123"


def test_a_server_that_cannot_be_reached_says_what_to_look_at() -> None:
    arrived = from_rpc_error(Failure(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses"))
    assert isinstance(arrived, UnavailableError)
    assert "countline status" in arrived.hint


def test_errors_that_are_not_ours_become_internal_or_their_kind() -> None:
    assert type(from_rpc_error(Failure(grpc.StatusCode.DATA_LOSS, "?"))) is InternalError
    assert type(from_rpc_error(Failure(grpc.StatusCode.NOT_FOUND, "?"))) is errors.NotFoundError


def test_a_block_turns_the_errors_of_calls_into_ours() -> None:
    with pytest.raises(errors.ConflictError, match="taken"), translated():
        raise over_the_wire(errors.ConflictError("taken"))
