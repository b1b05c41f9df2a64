"""Grants over a site or a group of cameras: what lies inside is open, what lies outside is closed and not listed."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tests.fixtures.control.auth import PASSWORD, Auth, refused

from countline.v1 import auth_pb2, cameras_pb2
from countline_common.access.scopes import Scope
from countline_common.administration.current import AdministrationState
from countline_common.errors import ConflictError, InvalidInputError, NotFoundError, PermissionDeniedError

LAB = Scope(site_id="lab")
ONE = Scope(camera_ids=frozenset({"lab-1"}))


async def test_what_lies_outside_is_neither_listed_nor_deleted(places) -> None:
    for scope, sites, cameras in ((LAB, ["lab"], ["lab-1", "lab-2"]), (ONE, ["lab"], ["lab-1"])):
        caller = places.holder(places.scoped_token("admin", scope)).cameras
        listed = await caller.ListSites(cameras_pb2.ListSitesRequest())
        assert [site.site_id for site in listed.sites] == sites
        for site_id in ("", "lab", "yard"):
            found = await caller.ListCameras(cameras_pb2.ListCamerasRequest(site_id=site_id, page_size=1))
            names = [camera.camera_id for camera in found.cameras]
            while found.next_page_token:
                request = cameras_pb2.ListCamerasRequest(site_id=site_id, page_size=1, page_token=found.next_page_token)
                found = await caller.ListCameras(request)
                names += [camera.camera_id for camera in found.cameras]
            assert names == (cameras if site_id != "yard" else [])
        assert (await refused(caller.GetSite(cameras_pb2.GetSiteRequest(site_id="yard")))).code == "PERMISSION_DENIED"
        outside = (
            caller.DeleteCamera(cameras_pb2.DeleteCameraRequest(camera_id="yard-1")),
            caller.DeleteSite(cameras_pb2.DeleteSiteRequest(site_id="yard")),
            caller.CreateCamera(
                cameras_pb2.CreateCameraRequest(camera=cameras_pb2.Camera(camera_id="new", site_id="yard"))
            ),
        )
        for call in outside:
            assert isinstance(await refused(call), PermissionDeniedError)
    admin = places.holder(places.scoped_token("admin", LAB)).cameras
    await admin.DeleteCamera(cameras_pb2.DeleteCameraRequest(camera_id="lab-2"))
    still = (await places.caller().cameras.ListCameras(cameras_pb2.ListCamerasRequest())).cameras
    assert [camera.camera_id for camera in still] == ["lab-1", "yard-1"]


async def test_a_camera_or_site_that_does_not_exist_looks_like_one_outside(places) -> None:
    caller = places.holder(places.scoped_token("viewer", LAB)).cameras
    for call in (
        lambda name: caller.GetCamera(cameras_pb2.GetCameraRequest(camera_id=f"{name}-1")),
        lambda name: caller.GetSite(cameras_pb2.GetSiteRequest(site_id=name)),
    ):
        errors = [await refused(call(name)) for name in ("yard", "ghost")]
        assert {(error.code, error.message) for error in errors} == {("PERMISSION_DENIED", errors[0].message)}
        assert "the permission 'camera:read' is held over site lab only" in errors[0].message


def grant(role: str, site_id: str = "", *camera_ids: str) -> auth_pb2.Grant:
    return auth_pb2.Grant(role=role, site_id=site_id, camera_ids=camera_ids)


async def test_a_user_gets_roles_over_scopes_that_stand_in_the_token(auth: Auth) -> None:
    admin = auth.by((await auth.login()).access_token)
    grants = [grant("operator", "lab"), grant("viewer", "", "b", "a")]
    request = auth_pb2.CreateUserRequest(username="vera", password=PASSWORD, grants=grants)
    vera = (await admin.CreateUser(request)).user
    assert (list(vera.roles), [(each.role, each.site_id, list(each.camera_ids)) for each in vera.grants]) == (
        [],
        [("operator", "lab", []), ("viewer", "", ["a", "b"])],
    )
    principal = auth.verifier.verify((await auth.login("vera")).access_token)
    write, read = principal.reach("camera:write"), principal.reach("camera:read")
    assert (write.everything, write.sites, write.cameras) == (False, {"lab"}, set())
    assert (read.sites, read.cameras) == ({"lab"}, {"a", "b"})

    user = auth_pb2.User(user_id=vera.user_id, roles=["guest"])
    both = (await admin.UpdateUser(auth_pb2.UpdateUserRequest(user=user))).user
    assert (list(both.roles), len(both.grants)) == (["guest"], 2)
    mask = FieldMask(paths=["grants"])
    only = (await admin.UpdateUser(auth_pb2.UpdateUserRequest(user=user, update_mask=mask))).user
    assert (list(only.roles), len(only.grants)) == (["guest"], 0)


@pytest.mark.parametrize(
    ("grants", "field"),
    [
        ([grant("viewer")], "grants[0]"),
        ([grant("viewer", "lab", "a")], "grants[0]"),
        ([grant("viewer", "no site")], "grants[0].site_id"),
        ([grant("viewer", "", "a", "../b")], "grants[0].camera_ids"),
        ([grant("king", "lab")], "grants[0].role"),
        ([grant("viewer", f"site-{i}") for i in range(51)], "grants"),
        ([grant("viewer", "", *(f"camera-{i}-{'x' * 40}" for i in range(40)))], "grants"),
    ],
)
async def test_a_scope_that_is_none_is_refused(auth: Auth, grants: list, field: str) -> None:
    admin = auth.by((await auth.login()).access_token)
    error = await refused(
        admin.CreateUser(auth_pb2.CreateUserRequest(username="vera", password=PASSWORD, grants=grants))
    )
    assert (type(error), [problem.field for problem in error.fields]) == (InvalidInputError, [field])


async def test_the_longest_token_fits_into_a_header(auth: Auth) -> None:
    from countline_analytics.api.gateway import LONGEST_AUTHORIZATION

    admin = auth.by((await auth.login()).access_token)
    roles = ["admin", "operator", "viewer", "guest"]
    grants = [grant(roles[i % 4], "", f"camera-{i:02}-{'x' * 19}") for i in range(49)]
    request = auth_pb2.CreateUserRequest(username="vera", password=PASSWORD, roles=["super-admin"], grants=grants)
    await admin.CreateUser(request)
    token = (await auth.login("vera")).access_token
    assert len(f"Bearer {token}") <= LONGEST_AUTHORIZATION
    me = await auth.by(token).GetCurrentUser(auth_pb2.GetCurrentUserRequest())
    assert len(me.user.grants) == 49


async def test_whoever_manages_users_gives_roles_only_where_they_are_held(auth: Auth) -> None:
    """Mia may change users everywhere, but is an operator in the lab only."""
    admin = auth.by((await auth.login()).access_token)
    manager = auth_pb2.Role(name="manager", permissions=["self:read", "user:read", "user:write"])
    await admin.CreateRole(auth_pb2.CreateRoleRequest(role=manager))
    request = auth_pb2.CreateUserRequest(
        username="mia", password=PASSWORD, roles=["manager"], grants=[grant("operator", "lab")]
    )
    await admin.CreateUser(request)
    mia = auth.by((await auth.login("mia")).access_token)

    def new(name: str, **fields: object):
        return mia.CreateUser(auth_pb2.CreateUserRequest(username=name, password=PASSWORD, **fields))

    await new("inside", grants=[grant("viewer", "lab")])
    for fields in ({"roles": ["viewer"]}, {"grants": [grant("viewer", "yard")]}, {"grants": [grant("admin", "lab")]}):
        assert isinstance(await refused(new("outside", **fields)), PermissionDeniedError)


async def test_a_super_admin_of_a_site_does_not_count_as_the_one_that_remains(auth: Auth) -> None:
    admin = auth.by((await auth.login()).access_token)
    grants = [grant("super-admin", "lab")]
    await admin.CreateUser(auth_pb2.CreateUserRequest(username="ann", password=PASSWORD, grants=grants))
    (me, *_) = (await admin.ListUsers(auth_pb2.ListUsersRequest())).users
    error = await refused(admin.DeleteUser(auth_pb2.DeleteUserRequest(user_id=me.user_id)))
    assert isinstance(error, ConflictError)


async def test_a_decision_is_explained(auth: Auth) -> None:
    admin = auth.by((await auth.login()).access_token)
    grants = [grant("operator", "lab"), grant("guest", "yard")]
    request = auth_pb2.CreateUserRequest(username="vera", password=PASSWORD, grants=grants)
    vera = (await admin.CreateUser(request)).user

    async def ask(permission: str, site_id: str = "", camera_id: str = "") -> tuple[bool, list[str]]:
        question = auth_pb2.CheckAccessRequest(
            user_id=vera.user_id, permission=permission, site_id=site_id, camera_id=camera_id
        )
        answer = await admin.CheckAccess(question)
        return answer.allowed, list(answer.reasons)

    assert await ask("camera:write", "lab") == (
        True,
        [
            "role operator over site lab permits camera:write and covers site lab",
            "role guest over site yard does not permit camera:write",
        ],
    )
    assert (await ask("camera:read", "yard", "door"))[0]
    assert await ask("camera:read") == (
        False,
        [
            "role operator over site lab permits camera:read and does not cover the whole system",
            "role guest over site yard permits camera:read and does not cover the whole system",
        ],
    )
    assert isinstance(await refused(ask("camera:eat")), InvalidInputError)


async def test_a_decision_about_a_camera_goes_by_the_site_where_it_stands(places) -> None:
    auth = places.caller().auth
    request = auth_pb2.CreateUserRequest(username="vera", password=PASSWORD, grants=[grant("operator", "lab")])
    vera = (await auth.CreateUser(request)).user

    async def ask(camera_id: str, site_id: str = "") -> auth_pb2.CheckAccessResponse:
        question = auth_pb2.CheckAccessRequest(
            user_id=vera.user_id, permission="camera:write", site_id=site_id, camera_id=camera_id
        )
        return await auth.CheckAccess(question)

    assert (await ask("lab-1")).reasons == [
        "role operator over site lab permits camera:write and covers camera lab-1 of site lab"
    ]
    assert [(await ask(*asked)).allowed for asked in (("lab-1", "lab"), ("yard-1",), ("yard-1", "yard"))] == [
        True, False, False,
    ]  # fmt: skip
    error = await refused(ask("yard-1", "lab"))
    assert (type(error), error.fields[0].field) == (InvalidInputError, "site_id")
    assert error.fields[0].message == "camera 'yard-1' is of site 'yard', not 'lab'"
    assert isinstance(await refused(ask("ghost")), NotFoundError)


async def test_an_auth_that_knows_no_cameras_asks_for_the_site_of_a_camera(auth: Auth) -> None:
    admin = auth.by((await auth.login()).access_token)
    vera = await auth.create("vera", "viewer")
    question = auth_pb2.CheckAccessRequest(user_id=vera.user_id, permission="camera:read", camera_id="door")
    error = await refused(admin.CheckAccess(question))
    assert (type(error), error.fields[0].field) == (InvalidInputError, "site_id")


async def test_a_user_who_has_something_to_do_first_is_permitted_nothing_else(auth: Auth) -> None:
    admin = auth.by((await auth.login()).access_token)
    vera = await auth.create("vera", "operator")

    async def ask(permission: str) -> tuple[bool, list[str]]:
        question = auth_pb2.CheckAccessRequest(user_id=vera.user_id, permission=permission)
        answer = await admin.CheckAccess(question)
        return answer.allowed, list(answer.reasons)

    assert (await ask("camera:write"))[0]
    auth.service.current.replace(AdministrationState({"second_factor_roles": "operator"}))
    first = "until then user vera may use only self:read and self:write"
    assert await ask("camera:write") == (False, [f"user vera has to set up a second factor first; {first}"])
    assert (await ask("self:write"))[0]
    await admin.ResetPassword(auth_pb2.ResetPasswordRequest(user_id=vera.user_id))
    assert await ask("camera:write") == (False, [f"user vera has to choose a password first; {first}"])


async def test_a_grant_over_a_place_that_does_not_exist_is_refused(places) -> None:
    auth = places.caller().auth
    wanted = [grant("viewer", "lab"), grant("viewer", "lap"), grant("viewer", "", "lab-1", "lab-9")]
    request = auth_pb2.CreateUserRequest(username="vera", password=PASSWORD, grants=wanted)
    error = await refused(auth.CreateUser(request))
    assert (type(error), [problem.field for problem in error.fields]) == (
        InvalidInputError,
        ["grants[1].site_id", "grants[2].camera_ids"],
    )
    assert "'lab-9'" in error.fields[1].message


async def test_a_user_keeps_a_grant_over_a_camera_that_was_deleted_and_can_still_be_changed(places) -> None:
    auth, cameras = places.caller().auth, places.caller().cameras
    request = auth_pb2.CreateUserRequest(username="vera", password=PASSWORD, grants=[grant("viewer", "", "lab-1")])
    vera = (await auth.CreateUser(request)).user
    await cameras.DeleteCamera(cameras_pb2.DeleteCameraRequest(camera_id="lab-1"))
    user = auth_pb2.User(user_id=vera.user_id, grants=[grant("viewer", "", "lab-1"), grant("viewer", "", "lab-2")])
    changed = (await auth.UpdateUser(auth_pb2.UpdateUserRequest(user=user))).user
    assert [list(each.camera_ids) for each in changed.grants] == [["lab-1"], ["lab-2"]]
