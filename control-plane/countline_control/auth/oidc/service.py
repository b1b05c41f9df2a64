"""Logins through an identity provider, and the identities that are linked to users."""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

from uuid import uuid4

from countline.v1 import oidc_pb2
from countline_common.audit.calls import about
from countline_common.errors import ConflictError, CountlineError, FieldProblem, InvalidInputError, NotFoundError
from countline_common.grpc.calls import Context
from countline_control.auth import store
from countline_control.auth.base import place_of
from countline_control.auth.domain import StoredUser
from countline_control.auth.messages import tokens_message
from countline_control.auth.oidc import store as oidc_store
from countline_control.auth.oidc.flow import ProviderAnswer, incomplete
from countline_control.auth.oidc.id_tokens import LONGEST_SUBJECT
from countline_control.auth.oidc.messages import identity_message, login_message
from countline_control.auth.oidc.people import PersonMethods, without_role
from countline_control.auth.oidc.store import StoredIdentity
from countline_control.auth.sessions import SessionMethods
from countline_control.auth.users import no_user


class OidcMethods(SessionMethods, PersonMethods):
    """The methods of logins through an identity provider."""

    async def GetLoginMethods(
        self, request: oidc_pb2.GetLoginMethodsRequest, context: Context
    ) -> oidc_pb2.GetLoginMethodsResponse:
        name = self.oidc.provider.config.name if self.oidc is not None else ""
        return oidc_pb2.GetLoginMethodsResponse(oidc_name=name, passwords=self.passwords_for)

    async def StartOidcLogin(
        self, request: oidc_pb2.StartOidcLoginRequest, context: Context
    ) -> oidc_pb2.StartOidcLoginResponse:
        logins = self._configured()
        started = logins.flow.begin(request.redirect_uri, self._clock())
        url = await logins.provider.login_page(started)
        return oidc_pb2.StartOidcLoginResponse(authorization_url=url, login=started.login)

    async def FinishOidcLogin(
        self, request: oidc_pb2.FinishOidcLoginRequest, context: Context
    ) -> oidc_pb2.FinishOidcLoginResponse:
        about("auth/oidc")
        logins, address = self._configured(), self._address_of(context)
        attempt = await self._limiter.count_address(address)
        started = logins.flow.resume(request.login, request.state, self._clock())
        answer = ProviderAnswer(request.state, request.code, request.issuer, request.error)
        person = await logins.provider.person(started, answer)
        about(f"identities/{person.subject}")
        refused: CountlineError | None = None
        response = oidc_pb2.FinishOidcLoginResponse(redirect_uri=started.redirect_uri)
        async with self._database.begin() as connection:
            await store.lock_users(connection)
            if not await oidc_store.use_state(connection, request.state, self._now()):
                raise incomplete("its answer was used before")
            before, user = await self._user_of(connection, person)
            old = login_message(before, person) if before is not None else None
            session_id = ""
            if user.grants:
                await self._limiter.clear(connection, attempt)
                session, tokens = await self._open_session(connection, user, context)
                response.tokens.CopyFrom(tokens_message(tokens))
                session_id = session.session_id
            else:
                refused = without_role()
                await self._logout_everywhere(connection, user.user_id)
            new = login_message(user, person, session_id)
            # The end of a refused call completes its row.
            await self.outbox.record(connection, place_of(user), before=old, after=new, finished=refused is None)
        if refused is not None:
            raise refused
        response.user.CopyFrom(self._own_message(user))
        return response

    async def ListIdentities(
        self, request: oidc_pb2.ListIdentitiesRequest, context: Context
    ) -> oidc_pb2.ListIdentitiesResponse:
        async with self._database.begin() as connection:
            if await store.get_user(connection, request.user_id) is None:
                raise no_user(request.user_id)
            found = await oidc_store.identities_of(connection, request.user_id)
        return oidc_pb2.ListIdentitiesResponse(identities=map(identity_message, found))

    async def LinkIdentity(
        self, request: oidc_pb2.LinkIdentityRequest, context: Context
    ) -> oidc_pb2.LinkIdentityResponse:
        issuer = self._configured().provider.config.issuer
        if not 0 < len(request.subject) <= LONGEST_SUBJECT or not request.subject.isprintable():
            problem = FieldProblem("subject", f"give the claim `sub` of the person, 1 to {LONGEST_SUBJECT} characters")
            raise InvalidInputError("the identity cannot be linked", fields=(problem,))
        async with self._database.begin() as connection:
            holder, user = await self._changed(connection, request.user_id, "link identities to")
            action = f"link an identity to user {user.username}, which gives whatever the groups file maps"
            await self._check_may_log_in_as(connection, holder, action)
            if user.service_account:
                raise ConflictError(
                    f"{user.username!r} is a service account, which works with API keys", hint="choose a person"
                )
            identity = StoredIdentity(uuid4().hex, user.user_id, issuer, request.subject, self._now())
            await oidc_store.insert_identity(connection, identity)
            await self.outbox.record(connection, _place_of(user, identity), after=identity_message(identity))
        return oidc_pb2.LinkIdentityResponse(identity=identity_message(identity))

    async def UnlinkIdentity(
        self, request: oidc_pb2.UnlinkIdentityRequest, context: Context
    ) -> oidc_pb2.UnlinkIdentityResponse:
        async with self._database.begin() as connection:
            _, user = await self._changed(connection, request.user_id, "unlink identities of")
            identity = await oidc_store.delete_identity(connection, user.user_id, request.identity_id)
            if identity is None:
                raise NotFoundError(
                    f"{user.username!r} has no identity {request.identity_id[:80]!r}",
                    hint=f"list the identities: countline users identities {user.username}",
                )
            await self._logout_everywhere(connection, user.user_id)
            await self.outbox.record(connection, _place_of(user, identity), before=identity_message(identity))
        return oidc_pb2.UnlinkIdentityResponse()


def _place_of(user: StoredUser, identity: StoredIdentity) -> str:
    return f"{place_of(user)}/identities/{identity.identity_id}"
