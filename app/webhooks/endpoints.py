"""Webhooks over HTTP, for administrators: what a receiver is told of goes across all models of the tenant."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from app.auth.caller import Admin
from app.core.openapi import errors
from app.core.parameters import After, Limit
from app.core.session import Session
from app.core.wire import Page
from app.webhooks import repository, service
from app.webhooks.schemas import (
    DeliveryPage,
    DeliveryStatus,
    DeliveryView,
    NewWebhook,
    Resent,
    Rotation,
    WebhookChange,
    WebhookView,
    WebhookWithSecret,
)

router = APIRouter(prefix="/v1/webhooks", tags=["Webhooks"])

_MOST = (1 << 63) - 1
EventId = Annotated[int, Path(ge=1, le=_MOST, description="The event that is delivered")]
AfterEvent = Annotated[
    int | None, Query(ge=1, le=_MOST, description="Continue after the delivery of this event")
]


@router.post("", status_code=201, responses=errors(400, 409, 413, 422))
async def create_webhook(
    request: Request, caller: Admin, session: Session, sent: NewWebhook
) -> WebhookWithSecret:
    """Have events posted to a URL of yours, signed as Standard Webhooks says. The answer holds the secret."""
    return await service.create(session, caller, request.app.state.settings, sent)


@router.get("", responses=errors(422))
async def list_webhooks(
    caller: Admin, session: Session, after: After = None, limit: Limit = 20
) -> Page[WebhookView]:
    """The tenant's webhooks, newest first, without their secrets."""
    rows = await repository.page(session, caller.tenant_id, after, limit + 1)
    return Page(data=[service.view(row) for row in rows[:limit]], has_more=len(rows) > limit)


@router.get("/{webhook_id}", responses=errors(404, 422))
async def get_webhook(caller: Admin, session: Session, webhook_id: uuid.UUID) -> WebhookView:
    """One webhook, and how many of its deliveries wait or were given up."""
    return service.view(await service.row_of(session, caller, webhook_id))


@router.patch("/{webhook_id}", responses=errors(400, 404, 413, 422))
async def change_webhook(
    request: Request, caller: Admin, session: Session, webhook_id: uuid.UUID, sent: WebhookChange
) -> WebhookView:
    """Change where or of what it is told; hold it back, or enable one that was disabled by a 410."""
    return await service.change(session, caller, request.app.state.settings, webhook_id, sent)


@router.delete("/{webhook_id}", status_code=204, responses=errors(404, 422))
async def delete_webhook(caller: Admin, session: Session, webhook_id: uuid.UUID) -> None:
    """Tell it nothing any more. What waits for it is dropped."""
    await service.remove(session, caller, webhook_id)


@router.post("/{webhook_id}/rotate-secret", responses=errors(400, 404, 409, 413, 422))
async def rotate_webhook_secret(
    request: Request, caller: Admin, session: Session, webhook_id: uuid.UUID, sent: Rotation
) -> WebhookWithSecret:
    """A new secret. For a while the old one signs too, so that a receiver can change over when it likes."""
    return await service.rotate(session, caller, request.app.state.settings, webhook_id, sent)


@router.post("/{webhook_id}/ping", status_code=202, responses=errors(404, 409, 422))
async def ping_webhook(caller: Admin, session: Session, webhook_id: uuid.UUID) -> DeliveryView:
    """Send it an event `webhook.ping`, to try it out. See its deliveries for what came of it."""
    return DeliveryView(**(await service.ping(session, caller, webhook_id))._mapping)


@router.get("/{webhook_id}/deliveries", responses=errors(404, 422))
async def list_webhook_deliveries(
    caller: Admin,
    session: Session,
    webhook_id: uuid.UUID,
    status: DeliveryStatus | None = None,
    after: AfterEvent = None,
    limit: Limit = 20,
) -> DeliveryPage:
    """What was sent, waits, or was given up (`status=dead`), newest first."""
    await service.row_of(session, caller, webhook_id)
    rows = await repository.deliveries(session, caller.tenant_id, webhook_id, status, after, limit + 1)
    data = [DeliveryView(**row._mapping) for row in rows[:limit]]
    return DeliveryPage(data=data, has_more=len(rows) > limit)


@router.post("/{webhook_id}/deliveries/{event_id}/resend", status_code=202, responses=errors(404, 409, 422))
async def resend_webhook_delivery(
    caller: Admin, session: Session, webhook_id: uuid.UUID, event_id: EventId
) -> DeliveryView:
    """Send one again that was given up, or delivered: the same webhook-id, and ten attempts more."""
    return DeliveryView(**(await service.resend_one(session, caller, webhook_id, event_id))._mapping)


@router.post("/{webhook_id}/resend", status_code=202, responses=errors(404, 422))
async def resend_dead_letters(caller: Admin, session: Session, webhook_id: uuid.UUID) -> Resent:
    """Send everything again that was given up."""
    return Resent(resent=await service.resend_dead(session, caller, webhook_id))
