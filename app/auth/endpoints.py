"""API keys over HTTP, for administrators."""

import uuid

from fastapi import APIRouter

from app.auth import issuing, repository
from app.auth.caller import Admin
from app.auth.keys import mint_key
from app.auth.schemas import APIKeyView, CreatedAPIKey, KeyRotation, NewAPIKey
from app.core.audit import audit_entry
from app.core.errors import NotFound
from app.core.openapi import errors
from app.core.parameters import After, Limit
from app.core.session import Session
from app.core.wire import Page

router = APIRouter(prefix="/v1/api-keys", tags=["API keys"])


@router.post("", status_code=201, responses=errors(400, 404, 413, 422))
async def create_api_key(caller: Admin, session: Session, sent: NewAPIKey) -> CreatedAPIKey:
    """Make a key of the caller's tenant. The answer holds the key; nothing else ever will. While it is
    new (for a day, unless the operator says otherwise) it is taken for the same hand as the key that made it:
    neither approves of what the other asked for."""
    minted = mint_key()
    scopes = sorted({str(scope) for scope in sent.scopes})
    models = None
    if sent.models is not None:
        found = (await session.execute(repository.models_named(caller.tenant_id, sent.models))).all()
        models = issuing.limited_to(sent.models, found, scopes)
    expires_at = issuing.expiry(sent.expires_in_days)
    statement = repository.insert_key(
        caller.tenant_id, minted, sent.name, scopes, expires_at, models, made_by_id=caller.key_id
    )
    made = (await session.execute(statement)).one()
    await session.execute(issuing.announcement(caller.tenant_id, made))
    await session.execute(
        audit_entry(
            caller.tenant_id,
            caller.actor,
            "api_key.create",
            made.id,
            caller.request_id,
            scopes=scopes,
            models=made.models,
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


@router.post("/{key_id}/rotate", status_code=201, responses=errors(400, 404, 409, 413, 422))
async def rotate_api_key(
    caller: Admin, session: Session, key_id: uuid.UUID, sent: KeyRotation
) -> CreatedAPIKey:
    """Make a key that takes another's place: the same name, scopes and models. The old one goes on opening
    for the time of the overlap, so that its users can change over one after the other, and then expires."""
    old = (await session.execute(repository.hold_key(caller.tenant_id, key_id))).one_or_none()
    if old is None:
        raise NotFound("There is no such API key.", code="api_key_not_found")
    issuing.refuse_ended(old)
    minted = mint_key()
    expires_at = issuing.renewed_expiry(old, sent.expires_in_days)
    statement = repository.insert_successor(caller.tenant_id, minted, old, expires_at, caller.key_id)
    made = (await session.execute(statement)).one()
    await session.execute(issuing.announcement(caller.tenant_id, made))
    ends = issuing.end_of_overlap(sent.overlap_hours)
    await session.execute(repository.end_key(caller.tenant_id, old.id, ends))
    await session.execute(
        audit_entry(
            caller.tenant_id,
            caller.actor,
            "api_key.rotate",
            old.id,
            caller.request_id,
            to=str(made.id),
            overlap_hours=sent.overlap_hours,
        )
    )
    return CreatedAPIKey(**made._mapping, key=minted.text)


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
