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
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.keys import Scope, hash_secret, parse_key
from app.core.errors import Forbidden, Unauthenticated
from app.core.logging import get_logger
from app.core.session import Session
from app.core.sight import NAMED_BY_SQL, SeeingSessions, Sight, keep_sight

log = get_logger("lethe.auth")

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="APIKey",
    bearerFormat="lethe_<public id>_<secret>",
    description="An API key, as the operator's command `python -m app.admin create-key` prints it once.",
)
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
_NOBODY = bytes(32)

# Whose key it is is known when it is found; the tenant is named in the same statement, and only if the secret
# is the key's. What was named ends with the transaction, and so does every refusal.
_FIND = text(
    "SELECT id, tenant_id, secret_sha256, scopes, model_ids, revoked_at IS NOT NULL AS revoked,"  # noqa: S608
    " coalesce(expires_at <= now(), false) AS expired,"
    " coalesce(last_used_at < now() - interval '1 minute', true) AS unmarked,"
    " CASE WHEN secret_sha256 = :sent THEN "
    + NAMED_BY_SQL.format(tenant="CAST(tenant_id AS text)", models="CAST(model_ids AS text)")
    + " END FROM find_api_key(:public_id)"
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
    models: tuple[uuid.UUID, ...] | None = None  # that the key is limited to

    @property
    def sight(self) -> Sight:
        """What its transactions see. The database leaves the rows of other models out by itself."""
        return Sight(self.tenant_id, self.models)

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

    def require_all_models(self) -> None:
        """For what concerns more than single models. Raises `Forbidden`."""
        if self.models is not None:
            raise Forbidden(
                "This API key is limited to some models, and this call is about more than those: name one of "
                "them, where the call takes a model, or use a key without that limit.",
                code="key_limited_to_models",
                models=[str(model) for model in self.models],
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
    sent = hash_secret(secret)
    key = (await session.execute(_FIND, {"public_id": public_id, "sent": sent})).one_or_none()
    # Compared in constant time, and compared even when there is no such key.
    matches = hmac.compare_digest(key.secret_sha256 if key else _NOBODY, sent)
    if key is None or not matches:
        raise _refused("There is no such API key.", "api_key_invalid")
    if key.revoked:
        raise _refused("This API key has been revoked.", "api_key_revoked")
    if key.expired:
        raise _refused("This API key has expired.", "api_key_expired")
    request.state.api_key_id = key.id  # whom the call is charged to
    models = None if key.model_ids is None else tuple(key.model_ids)
    caller = Caller(key.tenant_id, key.id, public_id, frozenset(key.scopes), request.state.request_id, models)
    keep_sight(session, caller.sight)
    if key.unmarked:
        mark_used(request, caller)
    return caller


def mark_used(request: Request, caller: Caller) -> None:
    """Note the time of use beside the request, which neither waits for it nor fails with it."""
    tasks: set[asyncio.Task[None]] = request.app.state.background
    marking: set[uuid.UUID] = request.app.state.keys_being_marked
    key_id = caller.key_id
    if key_id in marking:
        return
    marking.add(key_id)

    async def mark() -> None:
        sessions = SeeingSessions(request.app.state.sessions, caller.sight)
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
