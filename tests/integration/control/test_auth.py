"""Logging in against a real database over real gRPC."""

import grpc
import pytest

from countline.v1 import auth_pb2
from countline_common.errors import UnauthenticatedError
from countline_common.grpc_errors import from_rpc_error

from .conftest import ADMIN_PASSWORD, Control


async def test_the_first_admin_logs_in_with_the_password_of_the_file(control: Control) -> None:
    response = await control.caller(None).auth.Login(auth_pb2.LoginRequest(username="Admin", password=ADMIN_PASSWORD))
    assert response.user.username == "admin"
    me = await control.holder(response.tokens.access_token).auth.GetCurrentUser(auth_pb2.GetCurrentUserRequest())
    assert list(me.permissions) == ["*"]


async def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(control: Control) -> None:
    said = set()
    for username in ("admin", "nobody"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await control.caller(None).auth.Login(auth_pb2.LoginRequest(username=username, password="wrong password"))
        error = from_rpc_error(caught.value)
        assert isinstance(error, UnauthenticatedError)
        said.add((error.message, error.cure))
    assert len(said) == 1
