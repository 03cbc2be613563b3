"""Webhook endpoints and deliveries of one tenant."""

import uuid
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.rows import AnyRow
from models import time_ordered_id

_SHOWN = """
SELECT w.id, w.url, w.description, w.events, w.state = 'enabled' AS enabled, w.disabled_reason, w.created_at,
  w.secret_generation,
  CASE WHEN w.previous_until > now() THEN w.previous_until END AS previous_secret_until,
  (SELECT count(*) FROM webhook_deliveries d WHERE d.endpoint_id = w.id AND d.status = 'pending') AS pending,
  (SELECT count(*) FROM webhook_deliveries d WHERE d.endpoint_id = w.id AND d.status = 'dead') AS dead
FROM webhook_endpoints w WHERE w.tenant_id = :tenant_id AND w.state <> 'deleted'
"""
_ONE = text(_SHOWN + " AND w.id = :id")
_PAGE = text(_SHOWN + " AND (CAST(:after AS uuid) IS NULL OR w.id < :after) ORDER BY w.id DESC LIMIT :limit")
# One at a time per tenant, so that two calls cannot both be the last that is allowed.
_HOLD_TENANT = text("SELECT id FROM tenants WHERE id = :tenant_id FOR NO KEY UPDATE")
_COUNT = text("SELECT count(*) FROM webhook_endpoints WHERE tenant_id = :tenant_id AND state <> 'deleted'")
_INSERT = text(
    "INSERT INTO webhook_endpoints (id, tenant_id, url, description, events)"
    " VALUES (:id, :tenant_id, :url, :description, CAST(:events AS text[]))"
)
_CHANGE = text("""
UPDATE webhook_endpoints
SET url = coalesce(:url, url), description = coalesce(:description, description),
  events = coalesce(CAST(:events AS text[]), events),
  state = coalesce(:state, state),
  disabled_reason = CASE WHEN :state = 'enabled' THEN NULL
    WHEN :state = 'disabled' THEN coalesce(disabled_reason, 'by_request') ELSE disabled_reason END
WHERE tenant_id = :tenant_id AND id = :id AND state <> 'deleted' RETURNING id
""")
_DELETE = text(
    "UPDATE webhook_endpoints SET state = 'deleted', disabled_reason = NULL"
    " WHERE tenant_id = :tenant_id AND id = :id AND state <> 'deleted' RETURNING id"
)
_ROTATE = text(
    "UPDATE webhook_endpoints SET secret_generation = secret_generation + 1,"
    " previous_until = now() + make_interval(secs => :seconds)"
    " WHERE tenant_id = :tenant_id AND id = :id AND state <> 'deleted' RETURNING id"
)
_PING = text("""
WITH told AS (
  INSERT INTO events (tenant_id, subject_id, type) VALUES (:tenant_id, :id, 'webhook.ping') RETURNING id
)
INSERT INTO webhook_deliveries (endpoint_id, event_id, tenant_id) SELECT :id, id, :tenant_id FROM told
RETURNING event_id
""")
_WAKE = text("SELECT pg_notify('lethe_outbox', '')")
_DELIVERIES = """
SELECT d.event_id AS event, e.type, e.subject_id AS subject, d.status, d.attempts, e.created_at,
  CASE WHEN d.status = 'pending' THEN d.next_attempt_at END AS next_attempt_at,
  d.last_attempt_at, d.last_status, d.last_error
FROM webhook_deliveries d JOIN events e ON e.id = d.event_id
WHERE d.tenant_id = :tenant_id AND d.endpoint_id = :id
"""
_DELIVERY = text(_DELIVERIES + " AND d.event_id = :event_id")
_DELIVERY_PAGE = text(
    _DELIVERIES
    + " AND (CAST(:after AS bigint) IS NULL OR d.event_id < :after)"
    + " AND (CAST(:status AS text) IS NULL OR d.status = :status)"
    + " ORDER BY d.event_id DESC LIMIT :limit"
)
_RESEND = """
UPDATE webhook_deliveries SET status = 'pending', attempts = 0, next_attempt_at = now(), claim = NULL,
  finished_at = NULL
WHERE tenant_id = :tenant_id AND endpoint_id = :id
"""
_RESEND_ONE = text(_RESEND + " AND event_id = :event_id AND status <> 'pending' RETURNING event_id")
_RESEND_DEAD = text(_RESEND + " AND status = 'dead'")


async def find(session: AsyncSession, tenant_id: uuid.UUID, webhook_id: uuid.UUID) -> AnyRow | None:
    return (await session.execute(_ONE, {"tenant_id": tenant_id, "id": webhook_id})).one_or_none()


async def page(
    session: AsyncSession, tenant_id: uuid.UUID, after: uuid.UUID | None, limit: int
) -> list[AnyRow]:
    """Newest first."""
    bound = {"tenant_id": tenant_id, "after": after, "limit": limit}
    return list((await session.execute(_PAGE, bound)).all())


async def count(session: AsyncSession, tenant_id: uuid.UUID) -> int:
    """And hold the tenant, until the transaction ends, against others that count."""
    await session.execute(_HOLD_TENANT, {"tenant_id": tenant_id})
    return int((await session.execute(_COUNT, {"tenant_id": tenant_id})).scalar_one())


async def insert(
    session: AsyncSession, tenant_id: uuid.UUID, url: str, description: str | None, events: list[str]
) -> uuid.UUID:
    made = time_ordered_id()
    bound = {"id": made, "tenant_id": tenant_id, "url": url, "description": description, "events": events}
    await session.execute(_INSERT, bound)
    return made


async def change(
    session: AsyncSession, tenant_id: uuid.UUID, webhook_id: uuid.UUID, values: dict[str, Any]
) -> bool:
    blank = dict.fromkeys(("url", "description", "events", "state"))
    bound = blank | values | {"tenant_id": tenant_id, "id": webhook_id}
    return (await session.execute(_CHANGE, bound)).one_or_none() is not None


async def remove(session: AsyncSession, tenant_id: uuid.UUID, webhook_id: uuid.UUID) -> bool:
    """From now on it is told nothing; the relay removes the row and its deliveries later."""
    bound = {"tenant_id": tenant_id, "id": webhook_id}
    return (await session.execute(_DELETE, bound)).one_or_none() is not None


async def rotate(
    session: AsyncSession, tenant_id: uuid.UUID, webhook_id: uuid.UUID, previous_signs_seconds: float
) -> bool:
    bound = {"tenant_id": tenant_id, "id": webhook_id, "seconds": previous_signs_seconds}
    return (await session.execute(_ROTATE, bound)).one_or_none() is not None


async def ping(session: AsyncSession, tenant_id: uuid.UUID, webhook_id: uuid.UUID) -> AnyRow:
    """The delivery of an event that is for this endpoint alone."""
    made = await session.execute(_PING, {"tenant_id": tenant_id, "id": webhook_id})
    event_id = made.scalar_one()
    await session.execute(_WAKE)
    delivery = await find_delivery(session, tenant_id, webhook_id, event_id)
    assert delivery is not None
    return delivery


async def find_delivery(
    session: AsyncSession, tenant_id: uuid.UUID, webhook_id: uuid.UUID, event_id: int
) -> AnyRow | None:
    bound = {"tenant_id": tenant_id, "id": webhook_id, "event_id": event_id}
    return (await session.execute(_DELIVERY, bound)).one_or_none()


async def deliveries(
    session: AsyncSession,
    tenant_id: uuid.UUID,
    webhook_id: uuid.UUID,
    status: str | None,
    after: int | None,
    limit: int,
) -> list[AnyRow]:
    """Newest first."""
    bound = {"tenant_id": tenant_id, "id": webhook_id, "status": status, "after": after, "limit": limit}
    return list((await session.execute(_DELIVERY_PAGE, bound)).all())


async def resend(
    session: AsyncSession, tenant_id: uuid.UUID, webhook_id: uuid.UUID, event_id: int | None
) -> int:
    """One that has ended, or all dead letters; how many."""
    bound: dict[str, Any] = {"tenant_id": tenant_id, "id": webhook_id}
    statement = _RESEND_DEAD
    if event_id is not None:
        bound["event_id"], statement = event_id, _RESEND_ONE
    done = await session.execute(statement, bound)
    await session.execute(_WAKE)
    return int(done.rowcount)  # type: ignore[attr-defined]
