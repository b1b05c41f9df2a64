"""Texts from outside: what no service takes is refused at the edge, wherever in a message it is."""

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from countline.v1 import auth_pb2, cameras_pb2, models_pb2, workers_pb2
from countline_common.errors import InvalidInputError
from countline_common.grpc.texts import LONGEST_ID, LONGEST_TEXT, check_texts, escaped

DEPTH = 4
FILES = (auth_pb2, cameras_pb2, models_pb2, workers_pb2)


def requests() -> list[Descriptor]:
    """The request messages of every method."""
    services = [service for file in FILES for service in file.DESCRIPTOR.services_by_name.values()]
    return list(
        {method.input_type.full_name: method.input_type for each in services for method in each.methods}.values()
    )


def planted(descriptor: Descriptor, text: str, depth: int = DEPTH) -> Iterator[tuple[str, Message]]:
    """Yield messages that hold the text in one of their fields, with the field's path."""
    for field in descriptor.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.type == FieldDescriptor.TYPE_STRING:
            message = GetMessageClass(descriptor)()
            if field.is_repeated:
                getattr(message, field.name).append(text)
            else:
                setattr(message, field.name, text)
            yield field.name, message
        elif field.message_type is not None and depth:
            for path, inner in planted(field.message_type, text, depth - 1):
                message = GetMessageClass(descriptor)()
                target = getattr(message, field.name)
                (target.add() if field.is_repeated else target).CopyFrom(inner)
                yield f"{field.name}.{path}", message


@pytest.mark.parametrize("text", ["a\0b", "\x1b[31m", "\x7f", "\x9b", "a\u202eb", "a\u2066b", "a" * (LONGEST_TEXT + 1)])
def test_every_field_of_every_request_is_checked(text: str) -> None:
    found = [(path, message) for request in requests() for path, message in planted(request, text)]
    assert len(found) > 80
    for path, message in found:
        with pytest.raises(InvalidInputError) as refused:
            check_texts(message)
        (problem,) = refused.value.fields
        assert problem.field.replace("[0]", "") == path


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_refused(number: float) -> None:
    """NaN passed each check that compares, as the limit of a model's latency or as a position in the spool."""
    deploy = models_pb2.DeployModelRequest(header=models_pb2.DeployHeader(max_latency_ms=number))
    for message in (deploy, workers_pb2.ConnectRequest(spool_bytes=number)):
        with pytest.raises(InvalidInputError) as refused:
            check_texts(message)
        (problem,) = refused.value.fields
        assert problem.message == "must be a finite number"


@pytest.mark.parametrize("field", ["worker_id", "instance", "backend", "version"])
@pytest.mark.parametrize("text", ["a\nb", "a\tb", "a\r", "\u2028", "a\u202eb", "a\u200bb", "\ufeffa"])
def test_a_name_has_no_character_that_hides_reorders_or_begins_a_line(field: str, text: str) -> None:
    """A worker's name wrote a line of its own into every list of workers."""
    with pytest.raises(InvalidInputError) as refused:
        check_texts(workers_pb2.ConnectRequest(**{field: text}))
    (problem,) = refused.value.fields
    assert problem.field == field


def test_a_name_may_be_of_any_script() -> None:
    for name in ("Größe 漢字", "می\u200cخواهم", "10\u00a0m", "👩\u200d💻"):
        check_texts(workers_pb2.ConnectRequest(worker_id=name))


def test_an_id_has_a_lower_limit() -> None:
    check_texts(cameras_pb2.GetCameraRequest(camera_id="a" * LONGEST_ID))
    with pytest.raises(InvalidInputError, match="invalid"):
        check_texts(cameras_pb2.GetCameraRequest(camera_id="a" * 150_000))


@pytest.mark.parametrize("text", ["", "Größe 漢字 👩‍👩‍👧", "two\nlines\tand a tab\r\n", "a" * 60_000])
def test_what_people_write_is_taken(text: str) -> None:
    check_texts(models_pb2.DeployHeader(comment=text))


def test_a_message_that_a_worker_sends_is_made_fit() -> None:
    assert escaped("a\x1b[31m\0ü\n") == "a\\x1b[31m\\x00ü\n"
