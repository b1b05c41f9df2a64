"""Service accounts: users that have no password and work with API keys."""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

from dataclasses import replace

from countline.v1 import keys_pb2
from countline_common.grpc.calls import Context
from countline_common.grpc.paging import next_token, page
from countline_control.auth import domain, store
from countline_control.auth.access.holding import check_may_give
from countline_control.auth.messages import user_message
from countline_control.auth.users import UserMethods


class ServiceAccountMethods(UserMethods):
    """The methods of service accounts."""

    async def CreateServiceAccount(
        self, request: keys_pb2.CreateServiceAccountRequest, context: Context
    ) -> keys_pb2.CreateServiceAccountResponse:
        domain.check_username(request.username)
        domain.check_profile(request.display_name, "")
        user = replace(self._new_user(request.username, ""), service_account=True, display_name=request.display_name)
        async with self._database.begin() as connection:
            action = f"create service account {user.username}"
            holder = await self._changer(connection, action)
            grants = await self._granted(connection, request.roles, request.grants, service_account=True)
            user = replace(user, grants=grants)
            check_may_give(holder, user.held, action)
            await self._insert(connection, user, holder.name)
        return keys_pb2.CreateServiceAccountResponse(user=user_message(user))

    async def ListServiceAccounts(
        self, request: keys_pb2.ListServiceAccountsRequest, context: Context
    ) -> keys_pb2.ListServiceAccountsResponse:
        wanted = page(request.page_size, request.page_token)
        found = await self._database.read(
            lambda connection: store.list_users(connection, wanted.after, wanted.size + 1, service_accounts=True)
        )
        shown = found[: wanted.size]
        token = next_token(domain.username_key(shown[-1].username)) if len(found) > wanted.size else ""
        return keys_pb2.ListServiceAccountsResponse(users=map(user_message, shown), next_page_token=token)
