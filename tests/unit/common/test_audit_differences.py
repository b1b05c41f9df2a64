"""What an audit row shows of a change, and what it hides."""

import json

import pytest

from countline.v1 import auth_pb2, cameras_pb2
from countline.v1.cameras_pb2 import Camera, CameraSpec
from countline_common.audit.calls import resource_of
from countline_common.audit.differences import LONGEST_VALUE, MOST_CHANGES, changes

MARKER = "s3cret-marker"


def shown(before, after) -> dict[str, tuple[str, str]]:
    return {each.path: (each.before, each.after) for each in changes(before, after)[0]}


def test_only_fields_that_differ_are_shown() -> None:
    before = Camera(camera_id="door", name="Door", spec=CameraSpec(min_score=0.5))
    after = Camera(camera_id="door", name="Gate", spec=CameraSpec())
    assert shown(before, after) == {"name": ('"Door"', '"Gate"'), "spec.min_score": ("0.5", "")}
    assert shown(before, before) == {}


def test_a_new_thing_has_no_state_before_and_a_deleted_one_none_after() -> None:
    role = auth_pb2.Role(name="auditor", permissions=["audit:read", "self:read"])
    assert shown(None, role) == {"name": ("", '"auditor"'), "permissions": ("", '["audit:read", "self:read"]')}
    assert shown(role, None)["name"] == ('"auditor"', "")


def test_items_of_lists_are_compared_one_by_one() -> None:
    before = auth_pb2.User(grants=[auth_pb2.Grant(role="viewer", site_id="a")])
    after = auth_pb2.User(
        grants=[auth_pb2.Grant(role="viewer", site_id="b"), auth_pb2.Grant(role="admin", camera_ids=["c"])]
    )
    assert shown(before, after) == {
        "grants[0].site_id": ('"a"', '"b"'),
        "grants[1].role": ("", '"admin"'),
        "grants[1].camera_ids": ("", '["c"]'),
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, auth_pb2.LoginRequest(password=MARKER)),
        (auth_pb2.Tokens(access_token="old"), auth_pb2.Tokens(access_token=MARKER, refresh_token=MARKER)),
        (None, auth_pb2.ChangePasswordRequest(current_password=MARKER, new_password=MARKER)),
        (
            Camera(stream_url="rtsp://joe:old@cam/live"),
            Camera(stream_url=f"rtsp://joe:{MARKER}@cam/live?token={MARKER}"),
        ),
        (None, Camera(name=f"see http://joe:{MARKER}@cam/")),
    ],
)
def test_a_secret_that_changes_is_a_change_and_is_not_shown(before, after) -> None:
    found = changes(before, after)[0]
    assert found
    assert MARKER not in str(found)
    assert "***" in str(found)


def test_a_flag_about_passwords_is_no_secret() -> None:
    assert shown(auth_pb2.User(), auth_pb2.User(must_change_password=True)) == {"must_change_password": ("", "true")}


def test_long_values_are_cut_and_many_changes_counted() -> None:
    user = auth_pb2.User(display_name="x" * 5000, grants=[auth_pb2.Grant(role="r")] * (MOST_CHANGES + 10))
    found, omitted = changes(None, user)
    assert len(found) == MOST_CHANGES
    assert omitted == 11
    (name,) = (each for each in found if each.path == "display_name")
    assert len(json.loads(name.after)) < LONGEST_VALUE + 10


def test_a_refused_call_names_its_resource_by_its_rest_path() -> None:
    request = cameras_pb2.UpdateCameraRequest(camera=Camera(camera_id="door"))
    assert resource_of("countline.v1.CameraService/UpdateCamera", request) == "cameras/door"
    request = auth_pb2.DisableUserRequest(user_id="u1")
    assert resource_of("countline.v1.AuthService/DisableUser", request) == "users/u1"
    assert resource_of("countline.v1.AuthService/Login", auth_pb2.LoginRequest(username=MARKER)) == "auth/login"
    assert resource_of("countline.v1.ModelService/DeployModel", None) == ""
