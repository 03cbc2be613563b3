"""Who is calling, and whether they may: `RequestsWrite`, `ModelsRead`, … as endpoint parameters."""

import asyncio
import hmac
import uuid
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.auth.keys import Scope, hash_secret, parse_key
from app.core.errors import Forbidden, Unauthenticated
from app.core.logging import get_logger
from app.core.session import Session

log = get_logger("lethe.auth")

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="APIKey",
    bearerFormat="lethe_<public id>_<secret>",
    description="An API key, as the operator's command `python -m app.admin create-key` prints it once.",
)
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
_NOBODY = bytes(32)

_FIND = text(
    "SELECT id, tenant_id, secret_sha256, scopes, revoked_at IS NOT NULL AS revoked,"
    " coalesce(expires_at <= now(), false) AS expired,"
    " coalesce(last_used_at < now() - interval '1 minute', true) AS unmarked"
    " FROM api_keys WHERE public_id = :public_id"
)
_MARK_USED = text(
    "UPDATE api_keys SET last_used_at = now() WHERE id = (SELECT id FROM api_keys WHERE id = :id"
    " AND coalesce(last_used_at < now() - interval '1 minute', true) FOR NO KEY UPDATE SKIP LOCKED)"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """An API key in good standing. `request_id` is the HTTP request's."""

    tenant_id: uuid.UUID
    key_id: uuid.UUID
    public_id: str
    scopes: frozenset[str]
    request_id: str

    @property
    def actor(self) -> str:
        """As the audit log names it."""
        return f"key:{self.public_id}"

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or self.is_admin

    def require(self, scope: Scope) -> None:
        """Raises `Forbidden`."""
        if not self.may(scope):
            raise Forbidden(
                f"This call needs an API key with the scope {scope}; this key has "
                f"{', '.join(sorted(self.scopes)) or 'none'}.",
                code="scope_missing",
                scope=str(scope),
            )


async def authenticate(
    session: AsyncSession, credentials: HTTPAuthorizationCredentials | None, request: Request
) -> Caller:
    """Raises `Unauthenticated` (RFC 6750 section 3: with the challenge)."""
    if credentials is None:
        raise _refused("Send an API key as: Authorization: Bearer lethe_…", "api_key_missing")
    parsed = parse_key(credentials.credentials)
    if parsed is None:
        raise _refused("This is not an API key of this service.", "api_key_invalid")
    public_id, secret = parsed
    key = (await session.execute(_FIND, {"public_id": public_id})).one_or_none()
    # Compared in constant time, and compared even when there is no such key.
    matches = hmac.compare_digest(key.secret_sha256 if key else _NOBODY, hash_secret(secret))
    if key is None or not matches:
        raise _refused("There is no such API key.", "api_key_invalid")
    if key.revoked:
        raise _refused("This API key has been revoked.", "api_key_revoked")
    if key.expired:
        raise _refused("This API key has expired.", "api_key_expired")
    request.state.api_key_id = key.id  # whom the call is charged to
    if key.unmarked:
        mark_used(request, key.id)
    return Caller(key.tenant_id, key.id, public_id, frozenset(key.scopes), request.state.request_id)


def mark_used(request: Request, key_id: uuid.UUID) -> None:
    """Note the time of use beside the request, which neither waits for it nor fails with it."""
    tasks: set[asyncio.Task[None]] = request.app.state.background
    marking: set[uuid.UUID] = request.app.state.keys_being_marked
    if key_id in marking:
        return
    marking.add(key_id)

    async def mark() -> None:
        sessions: async_sessionmaker[AsyncSession] = request.app.state.sessions
        try:
            async with sessions.begin() as session:
                await session.execute(_MARK_USED, {"id": key_id})
        except SQLAlchemyError as error:
            log.warning("last_use_not_noted", error=type(error).__name__)
        finally:
            marking.discard(key_id)

    task = asyncio.create_task(mark())
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _refused(detail: str, code: str) -> Unauthenticated:
    return Unauthenticated(detail, code=code, headers={"WWW-Authenticate": 'Bearer realm="lethe"'})


class _Requires:
    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def __call__(self, request: Request, session: Session, credentials: _Credentials) -> Caller:
        caller = await authenticate(session, credentials, request)
        caller.require(self._scope)
        return caller


class _RequiresWithoutSession:
    """For calls that move many bytes: no connection to the database is held meanwhile."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def __call__(self, request: Request, credentials: _Credentials) -> Caller:
        async with request.app.state.sessions() as session:
            caller = await authenticate(session, credentials, request)
        caller.require(self._scope)
        return caller


RequestsWrite = Annotated[Caller, Depends(_Requires(Scope.REQUESTS_WRITE))]
RequestsRead = Annotated[Caller, Depends(_Requires(Scope.REQUESTS_READ))]
ModelsWrite = Annotated[Caller, Depends(_Requires(Scope.MODELS_WRITE))]
ModelsRead = Annotated[Caller, Depends(_Requires(Scope.MODELS_READ))]
AuditRead = Annotated[Caller, Depends(_Requires(Scope.AUDIT_READ))]
Admin = Annotated[Caller, Depends(_Requires(Scope.ADMIN))]
ModelsReadStreaming = Annotated[Caller, Depends(_RequiresWithoutSession(Scope.MODELS_READ))]
ModelsWriteStreaming = Annotated[Caller, Depends(_RequiresWithoutSession(Scope.MODELS_WRITE))]
