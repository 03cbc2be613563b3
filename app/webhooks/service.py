"""Deciding about webhook endpoints."""

import uuid
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.audit import audit_entry
from app.core.errors import Conflict, InvalidInput, NotFound
from app.core.rows import AnyRow
from app.core.settings import Settings
from app.outbound.addresses import read_listed
from app.outbound.urls import why_never
from app.webhooks import repository
from app.webhooks.schemas import NewWebhook, Rotation, WebhookChange, WebhookView, WebhookWithSecret
from app.webhooks.secrets import secret_of

SECONDS_PER_HOUR = 3600.0


async def create(
    session: AsyncSession, caller: Caller, settings: Settings, sent: NewWebhook
) -> WebhookWithSecret:
    """Raises `Conflict` (webhooks_not_configured, too_many_webhooks) and `InvalidInput`
    (receiver_not_allowed)."""
    _refuse_unreachable(sent.url, settings)
    most = settings.webhook_endpoints_per_tenant
    if await repository.count(session, caller.tenant_id) >= most:
        raise Conflict(
            f"There are {most} webhooks already, as many as a tenant may have: delete one first.",
            code="too_many_webhooks",
            limit=most,
        )
    made = await repository.insert(session, caller.tenant_id, sent.url, sent.description, sent.events)
    await _note(session, caller, "create", made, events=sent.events)
    return await _with_secret(session, caller, settings, made)


async def change(
    session: AsyncSession, caller: Caller, settings: Settings, webhook_id: uuid.UUID, sent: WebhookChange
) -> WebhookView:
    """Raises `NotFound` and `InvalidInput` (receiver_not_allowed)."""
    values = sent.model_dump(exclude_none=True, exclude={"enabled"})
    if sent.url is not None:
        _refuse_unreachable(sent.url, settings)
    if sent.enabled is not None:
        values["state"] = "enabled" if sent.enabled else "disabled"
    if not await repository.change(session, caller.tenant_id, webhook_id, values):
        raise webhook_not_found()
    await _note(session, caller, "change", webhook_id, changed=sorted(values))
    return view(await row_of(session, caller, webhook_id))


async def remove(session: AsyncSession, caller: Caller, webhook_id: uuid.UUID) -> None:
    """Raises `NotFound`."""
    if not await repository.remove(session, caller.tenant_id, webhook_id):
        raise webhook_not_found()
    await _note(session, caller, "delete", webhook_id)


async def rotate(
    session: AsyncSession, caller: Caller, settings: Settings, webhook_id: uuid.UUID, sent: Rotation
) -> WebhookWithSecret:
    """Raises `NotFound` and `Conflict` (webhooks_not_configured)."""
    hours = sent.previous_signs_hours
    if hours is None:
        hours = settings.webhook_rotation_hours
    if not await repository.rotate(session, caller.tenant_id, webhook_id, hours * SECONDS_PER_HOUR):
        raise webhook_not_found()
    await _note(session, caller, "rotate_secret", webhook_id, previous_signs_hours=hours)
    return await _with_secret(session, caller, settings, webhook_id)


async def resend_one(session: AsyncSession, caller: Caller, webhook_id: uuid.UUID, event_id: int) -> AnyRow:
    """Raises `NotFound` and `Conflict` (delivery_pending)."""
    await row_of(session, caller, webhook_id)
    if await repository.find_delivery(session, caller.tenant_id, webhook_id, event_id) is None:
        raise NotFound("There is no such delivery of this webhook.", code="delivery_not_found")
    if not await repository.resend(session, caller.tenant_id, webhook_id, event_id):
        raise Conflict("It waits for its next attempt already.", code="delivery_pending")
    await _note(session, caller, "resend", webhook_id, event=event_id)
    found = await repository.find_delivery(session, caller.tenant_id, webhook_id, event_id)
    assert found is not None
    return found


async def resend_dead(session: AsyncSession, caller: Caller, webhook_id: uuid.UUID) -> int:
    """How many. Raises `NotFound`."""
    await row_of(session, caller, webhook_id)
    resent = await repository.resend(session, caller.tenant_id, webhook_id, None)
    await _note(session, caller, "resend", webhook_id, resent=resent)
    return resent


async def ping(session: AsyncSession, caller: Caller, webhook_id: uuid.UUID) -> AnyRow:
    """Raises `NotFound` and `Conflict` (webhook_disabled)."""
    if not (await row_of(session, caller, webhook_id)).enabled:
        raise Conflict("The webhook is disabled: enable it first.", code="webhook_disabled")
    return await repository.ping(session, caller.tenant_id, webhook_id)


async def row_of(session: AsyncSession, caller: Caller, webhook_id: uuid.UUID) -> AnyRow:
    """Raises `NotFound`."""
    row = await repository.find(session, caller.tenant_id, webhook_id)
    if row is None:
        raise webhook_not_found()
    return row


def view(row: AnyRow) -> WebhookView:
    return WebhookView(**_shown(row))


def webhook_not_found() -> NotFound:
    return NotFound("There is no such webhook.", code="webhook_not_found")


async def _with_secret(
    session: AsyncSession, caller: Caller, settings: Settings, webhook_id: uuid.UUID
) -> WebhookWithSecret:
    row = await row_of(session, caller, webhook_id)
    return WebhookWithSecret(**_shown(row), secret=secret_of(settings, row.id, row.secret_generation))


def _shown(row: AnyRow) -> dict[str, Any]:
    return {name: value for name, value in row._mapping.items() if name in WebhookView.model_fields}


def _refuse_unreachable(url: str, settings: Settings) -> None:
    reason = why_never(url, read_listed(settings.webhook_inner_receivers))
    if reason is not None:
        raise InvalidInput(reason, code="receiver_not_allowed")


async def _note(
    session: AsyncSession, caller: Caller, action: str, webhook_id: uuid.UUID, **data: Any
) -> None:
    await session.execute(
        audit_entry(
            caller.tenant_id, caller.actor, f"webhook.{action}", webhook_id, caller.request_id, **data
        )
    )
