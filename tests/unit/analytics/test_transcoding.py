"""From HTTP requests to messages."""

import json
import re
from typing import Any, cast

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from countline.v1 import cameras_pb2, counts_pb2, models_pb2, workers_pb2
from countline_analytics.api.oidc_document import OIDC_ROUTES
from countline_analytics.api.oidc_login import add_oidc_routes
from countline_analytics.api.openapi import document
from countline_analytics.api.services import http_methods
from countline_analytics.api.transcoding import Route, build_request
from countline_common.errors import InvalidInputError
from countline_common.http.rest_json import to_json

PATCH = Route("PATCH", "/api/v1/cameras/{camera.camera_id}", "camera")
QUERY = Route("GET", "/api/v1/analytics/counts", "")
PROMOTE = Route("POST", "/api/v1/ai-models/{name}/promote", "*")
CREATE_TRUTH = Route("POST", "/api/v1/cameras/{truth_set.camera_id}/truth", "truth_set")


def problems(call) -> dict[str, str]:
    with pytest.raises(InvalidInputError) as caught:
        call()
    return {problem.field: problem.message for problem in caught.value.fields}


def counts_request(*query: tuple[str, str]) -> counts_pb2.QueryCountsRequest:
    return build_request(counts_pb2.QueryCountsRequest.DESCRIPTOR, QUERY, [], query, None)


def patch(body) -> cameras_pb2.UpdateCameraRequest:
    return build_request(cameras_pb2.UpdateCameraRequest.DESCRIPTOR, PATCH, ["cam-1"], [], body)


def test_a_query_fills_fields_times_included() -> None:
    request = counts_request(("camera_id", "cam-1"), ("start", "2026-03-01T12:00:00+01:00"), ("group_by", "line,class"))
    assert request.camera_id == "cam-1"
    assert request.start.ToJsonString() == "2026-03-01T11:00:00Z"
    assert request.group_by == "line,class"


@pytest.mark.parametrize("text", ["2026-01-01t00:00:00z", "2026-01-01T00:00:00Z", "2026-01-01 01:00:00.000+01:00"])
def test_a_time_is_read_as_rfc_3339_allows(text) -> None:
    assert counts_request(("start", text)).start.ToJsonString() == "2026-01-01T00:00:00Z"


def test_every_wrong_field_of_a_query_is_named() -> None:
    found = problems(lambda: counts_request(("start", "noon"), ("lines", "3"), ("end", "2026-03-01T12:00:00")))
    assert set(found) == {"start", "lines", "end"}
    assert "offset" in found["end"]


def test_a_patch_changes_what_its_body_names() -> None:
    request = patch({"name": "Gate", "spec": {"processing_rate": 5, "anchor": {"x": 0.5, "y": 1}, "lines": []}})
    assert list(request.update_mask.paths) == ["name", "spec.processing_rate", "spec.anchor", "spec.lines"]
    assert request.camera.camera_id == "cam-1"
    assert request.camera.spec.processing_rate == 5


def test_a_patch_with_null_clears_the_field() -> None:
    request = patch({"spec": {"anchor": None}})
    assert list(request.update_mask.paths) == ["spec.anchor"]
    assert not request.camera.spec.HasField("anchor")


@pytest.mark.parametrize("named", [{}, {"camera_id": "cam-1"}, {"camera_id": ""}, {"camera_id": None}])
def test_a_body_may_name_the_camera_of_its_path(named: dict[str, str | None]) -> None:
    request = patch({**named, "name": "Gate"})
    assert request.camera.camera_id == "cam-1"
    assert list(request.update_mask.paths) == ["name"]


@pytest.mark.parametrize(
    ("request_type", "route", "body"),
    [
        (cameras_pb2.UpdateCameraRequest, PATCH, {"camera_id": "other", "name": "Gate"}),
        (cameras_pb2.UpdateCameraRequest, PATCH, {"camera_id": "CAM-1"}),
        (counts_pb2.CreateTruthSetRequest, CREATE_TRUTH, {"camera_id": "other", "crossings": []}),
        (models_pb2.PromoteModelRequest, PROMOTE, {"name": "other", "version": 2}),
    ],
)
def test_a_body_that_names_another_resource_than_its_path_is_refused(request_type, route, body) -> None:
    """It was ignored, so that a client changed a resource that it did not mean."""
    found = problems(lambda: build_request(request_type.DESCRIPTOR, route, ["cam-1"], [], body))
    assert set(found.values()) == {"is not the one in the path; it cannot be changed"}


def test_a_mask_in_the_query_stands() -> None:
    body, query = {"name": "Gate", "spec": {"model": "x"}}, [("update_mask", "name,spec.model")]
    request = build_request(cameras_pb2.UpdateCameraRequest.DESCRIPTOR, PATCH, ["cam-1"], query, body)
    assert list(request.update_mask.paths) == ["name", "spec.model"]


def test_problems_deep_in_a_body_are_named_by_their_path() -> None:
    body = {
        "spec": {"lines": [{"line_id": "a", "points": [{"x": 0.1, "y": "low"}]}], "playback": "sideways", "speed": 1}
    }
    found = problems(lambda: patch(body))
    assert found["spec.lines[0].points[0].y"] == "must be a number"
    assert "loop" in found["spec.playback"]
    assert found["spec.speed"] == "is unknown"


def test_a_text_that_no_service_takes_is_named_as_the_body_names_it() -> None:
    """It was `camera.name`, though the body is the camera."""
    found = problems(lambda: patch({"name": "a\0b", "spec": {"lines": [{"line_id": "x\x1b"}]}}))
    assert set(found) == {"name", "spec.lines[0].line_id"}


def test_words_of_enums_are_those_that_answers_carry() -> None:
    assert patch({"spec": {"playback": "loop"}}).camera.spec.playback == cameras_pb2.PLAYBACK_LOOP


def test_a_body_of_one_field_and_the_path_meet_in_the_request() -> None:
    body = {"line_id": "gate", "duration_s": 10, "repeats": True, "crossings": [{"t": 1.5, "direction": "in"}]}
    request = build_request(counts_pb2.CreateTruthSetRequest.DESCRIPTOR, CREATE_TRUTH, ["cam-1"], [], body)
    assert request.truth_set.camera_id == "cam-1"
    assert request.truth_set.crossings[0].t == 1.5


@pytest.mark.parametrize("body", [None, 3, "text", [1]])
def test_a_body_that_is_no_object_is_refused(body) -> None:
    assert problems(lambda: patch(body))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (("camera.spec.lines", "x"), "camera.spec.lines"),
        (("camera", "x"), "camera"),
        (("camera.name", "x"), "camera.name"),
        (("\x00", "x"), r"\x00"),
        (("\ud800", "x"), r"\ud800"),
        (("x" * 5000, "x"), "x" * 100),
    ],
)
def test_a_query_that_names_no_field_of_its_own_is_refused(query: tuple[str, str], field: str) -> None:
    descriptor = cameras_pb2.UpdateCameraRequest.DESCRIPTOR
    assert set(problems(lambda: build_request(descriptor, PATCH, ["cam-1"], [query], {"name": "x"}))) == {field}


def test_the_problems_of_a_hostile_body_are_bounded() -> None:
    assert len(problems(lambda: patch({f"{i}{'x' * 1000}": i for i in range(1000)}))) == 20


@pytest.mark.parametrize("seconds", [1e308, -1e308, float("inf"), 10**400, "1e400"])
def test_a_duration_that_no_duration_holds_is_refused(seconds) -> None:
    message = workers_pb2.ConnectResponse.DESCRIPTOR
    assert problems(lambda: build_request(message, Route("POST", "/", "*"), [], [], {"lease": seconds}))


@pytest.mark.parametrize("value", [True, "5", 2**40, 1.5, float("nan")])
def test_a_number_that_does_not_fit_is_refused(value) -> None:
    assert problems(lambda: patch({"revision": value}))


def test_half_of_a_surrogate_pair_is_refused_and_not_a_crash() -> None:
    assert problems(lambda: patch(json.loads('{"name": "\\ud800"}')))


names = st.text(max_size=12).filter(lambda text: text.isprintable())
truths = st.builds(
    lambda line, duration, repeats, times: counts_pb2.TruthSet(
        line_id=line,
        duration_s=duration,
        repeats=repeats,
        crossings=[counts_pb2.TrueCrossing(t=t, direction="in", class_name=line) for t in times],
    ),
    names,
    st.floats(0, 1e9),
    st.booleans(),
    st.lists(st.floats(0, 1e6), max_size=4),
)


@given(truths)
def test_what_an_answer_says_can_be_sent_back(message) -> None:
    body = json.loads(json.dumps(to_json(message)))
    request = build_request(counts_pb2.CreateTruthSetRequest.DESCRIPTOR, CREATE_TRUTH, [message.camera_id], [], body)
    assert request.truth_set == message


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["spec", "lines", "points", "x", "name", "created_at", "revision"]), inner
            )
        ),
    )
)
def test_any_json_is_read_or_refused(value) -> None:
    try:
        patch(value)
    except InvalidInputError as error:
        assert error.fields  # noqa: PT017  (it need not be raised)


def test_every_route_of_the_contract_has_its_place_in_the_openapi_document() -> None:
    methods = list(http_methods())
    paths = document(methods)["paths"]
    for method in methods:
        for route in method.routes:
            assert paths[route.path][route.method.lower()]["operationId"].endswith(method.descriptor.name)
    json.dumps(paths)


def test_references_in_the_openapi_document_lead_somewhere() -> None:
    found = document(http_methods(), OIDC_ROUTES)
    text = json.dumps(found)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(found["components"]["schemas"])


def test_paths_with_variables_become_routes() -> None:
    route = Route("GET", "/a/{b.c}/d/{e=**}:go", "")
    assert route.aiohttp_path == "/a/{c:[^{}/]+}/d/{e:.+}:go"
    assert route.path == "/a/{c}/d/{e}:go"


def test_the_openapi_document_says_what_the_contract_remarks() -> None:
    found = document(http_methods())
    camera = found["components"]["schemas"]["Camera"]
    assert "63 characters" in camera["properties"]["camera_id"]["description"]
    assert "zeros" in found["paths"]["/api/v1/analytics/counts"]["get"]["summary"]
    assert found["components"]["schemas"]["Line"]["description"].startswith("A count line")


def test_the_openapi_document_is_valid_and_names_parameters_plainly() -> None:
    """`{camera.camera_id}` beside `{camera_id}` were two paths of one resource, which tools refuse."""
    found = document(http_methods(), OIDC_ROUTES)
    OpenAPIV31SpecValidator(found).validate()
    assert all(re.fullmatch(r"(/[a-z0-9-]+|/\{[a-z_]+\})+", path) for path in found["paths"])
    shapes = [re.sub(r"\{[^}]+\}", "{}", path) for path in found["paths"]]
    assert len(shapes) == len(set(shapes))


def test_the_routes_of_a_login_through_a_provider_are_described() -> None:
    """The gateway adds these routes itself. Programs did not find them in the document."""
    app = web.Application()
    add_oidc_routes(app, cast("Any", None), cast("Any", None), "")
    added = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    assert {(route.method, route.path) for route in OIDC_ROUTES} == added
    paths = document((), OIDC_ROUTES)["paths"]
    start, callback = paths["/api/v1/auth/oidc/start"]["post"], paths["/api/v1/auth/oidc/callback"]["get"]
    assert (start["operationId"], start["security"], start["tags"]) == ("OidcService.StartOidcLogin", [], ["Oidc"])
    assert callback["summary"].startswith("Completes a login")
    assert {*callback["responses"]} == {"303", "default"}


def test_the_openapi_document_says_what_a_creation_answers() -> None:
    responses = document(http_methods())["paths"]["/api/v1/sites"]["post"]["responses"]
    assert "Location" in responses["201"]["headers"]
    schema = responses["201"]["content"]["application/json"]["schema"]
    assert schema["properties"]["data"] == {"$ref": "#/components/schemas/Site"}
