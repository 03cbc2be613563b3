"""API keys over HTTP, for administrators."""

import uuid
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter

from app.auth import repository
from app.auth.caller import Admin
from app.auth.keys import mint_key
from app.auth.schemas import APIKeyView, CreatedAPIKey, NewAPIKey
from app.core.audit import audit_entry
from app.core.errors import NotFound
from app.core.openapi import errors
from app.core.session import Session
from app.core.wire import After, Limit, Page

router = APIRouter(prefix="/v1/api-keys", tags=["API keys"])


@router.post("", status_code=201, responses=errors(400, 413, 422))
async def create_api_key(caller: Admin, session: Session, sent: NewAPIKey) -> CreatedAPIKey:
    """Make a key of the caller's tenant. The answer holds the key; nothing else ever will."""
    minted = mint_key()
    expires_at = None
    if sent.expires_in_days is not None:
        expires_at = datetime.now(UTC) + timedelta(days=sent.expires_in_days)
    scopes = sorted({str(scope) for scope in sent.scopes})
    statement = repository.insert_key(caller.tenant_id, minted, sent.name, scopes, expires_at)
    made = (await session.execute(statement)).one()
    await session.execute(
        audit_entry(
            caller.tenant_id, caller.actor, "api_key.create", made.id, caller.request_id, scopes=scopes
        )
    )
    return CreatedAPIKey(**made._mapping, key=minted.text)


@router.get("", responses=errors(422))
async def list_api_keys(
    caller: Admin, session: Session, after: After = None, limit: Limit = 20
) -> Page[APIKeyView]:
    """The tenant's keys, newest first, without their secrets."""
    rows = (await session.execute(repository.keys_of(caller.tenant_id, after, limit + 1))).all()
    data = [APIKeyView(**row._mapping) for row in rows[:limit]]
    return Page(data=data, has_more=len(rows) > limit)


@router.delete("/{key_id}", responses=errors(404, 422))
async def revoke_api_key(caller: Admin, session: Session, key_id: uuid.UUID) -> APIKeyView:
    """Revoke a key at once, and for good."""
    row = (await session.execute(repository.revoke_key(caller.tenant_id, key_id))).one_or_none()
    if row is None:
        raise NotFound("There is no such API key.", code="api_key_not_found")
    await session.execute(
        audit_entry(caller.tenant_id, caller.actor, "api_key.revoke", key_id, caller.request_id)
    )
    return APIKeyView(**row._mapping)
