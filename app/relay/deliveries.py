"""Webhook deliveries as the courier takes them up and puts them down. Each function is one transaction.

A delivery that is taken up is leased, and due again when the lease has run out, which its relay renews while
it is at it: should this relay die, another one, or this one once it is back, sends it once more. Whoever puts
it down must still hold it.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, text, update
from sqlalchemy.orm import Session, sessionmaker

from app.core.audit import audit_entry
from app.core.database import transaction
from app.core.logging import get_logger
from app.webhooks.messages import Event
from models import WebhookDelivery, WebhookEndpoint

ACTOR = "relay"
BATCH = 1000

# Per endpoint and per tenant there is room for so many at a time, in all relays together: one slow receiver,
# or twenty of one tenant, leave the others theirs.
_TAKE = text("""
WITH busy AS (
  SELECT endpoint_id, tenant_id, count(*) AS under_way FROM webhook_deliveries
  WHERE status = 'pending' AND claim IS NOT NULL AND next_attempt_at > now()
  GROUP BY endpoint_id, tenant_id
), chosen AS (
  SELECT found.endpoint_id, found.event_id
  FROM (
    SELECT due.endpoint_id, due.event_id, endpoint.tenant_id,
      row_number() OVER (PARTITION BY endpoint.tenant_id ORDER BY due.next_attempt_at, due.event_id) AS place
    FROM webhook_endpoints AS endpoint
    LEFT JOIN busy ON busy.endpoint_id = endpoint.id
    JOIN LATERAL (
      SELECT delivery.endpoint_id, delivery.event_id, delivery.next_attempt_at
      FROM webhook_deliveries AS delivery
      WHERE delivery.endpoint_id = endpoint.id AND delivery.status = 'pending'
        AND delivery.next_attempt_at <= now()
      ORDER BY delivery.next_attempt_at, delivery.event_id
      LIMIT greatest(0, :per_endpoint - coalesce(busy.under_way, 0))
      FOR UPDATE SKIP LOCKED
    ) AS due ON true
    WHERE endpoint.state = 'enabled'
  ) AS found
  WHERE found.place <= :per_tenant - coalesce(
    (SELECT sum(busy.under_way) FROM busy WHERE busy.tenant_id = found.tenant_id), 0)
  ORDER BY found.place, found.event_id LIMIT :room
)
UPDATE webhook_deliveries AS taken
SET claim = :claim, next_attempt_at = now() + make_interval(secs => :lease), last_attempt_at = now()
FROM chosen
WHERE taken.endpoint_id = chosen.endpoint_id AND taken.event_id = chosen.event_id
RETURNING taken.endpoint_id, taken.event_id, taken.tenant_id, taken.attempts
""")
_READ = text("""
SELECT delivery.endpoint_id, delivery.event_id, delivery.tenant_id, delivery.attempts, delivery.claim,
  endpoint.url, endpoint.secret_generation, coalesce(endpoint.previous_until > now(), false) AS previous,
  event.type, event.created_at, event.subject_id, event.data, model.name AS model, request.parent_id
FROM webhook_deliveries AS delivery
JOIN webhook_endpoints AS endpoint ON endpoint.id = delivery.endpoint_id
JOIN events AS event ON event.id = delivery.event_id
LEFT JOIN deletion_requests AS request ON request.id = event.subject_id
LEFT JOIN jobs AS job ON job.id = event.subject_id
LEFT JOIN model_versions AS version ON version.id = event.subject_id
LEFT JOIN registered_models AS model ON model.id = coalesce(
  request.registered_model_id, job.registered_model_id, version.registered_model_id, event.subject_id)
WHERE delivery.claim = :claim AND delivery.status = 'pending'
""")
_RENEW = text("""
UPDATE webhook_deliveries AS taken SET next_attempt_at = now() + make_interval(secs => :lease)
FROM unnest(CAST(:endpoints AS uuid[]), CAST(:events AS bigint[]), CAST(:claims AS uuid[]))
  AS held(endpoint_id, event_id, claim)
WHERE taken.endpoint_id = held.endpoint_id AND taken.event_id = held.event_id AND taken.claim = held.claim
  AND taken.status = 'pending'
""")
_DROP_DELIVERIES = text("""
DELETE FROM webhook_deliveries WHERE (endpoint_id, event_id) IN (
  SELECT endpoint_id, event_id FROM webhook_deliveries
  WHERE status <> 'pending' AND finished_at < now() - make_interval(secs => :seconds)
  LIMIT :batch FOR UPDATE SKIP LOCKED
)
""")
_DROP_ADDRESSED = text("""
DELETE FROM webhook_deliveries WHERE (endpoint_id, event_id) IN (
  SELECT delivery.endpoint_id, delivery.event_id
  FROM webhook_endpoints AS endpoint
  JOIN webhook_deliveries AS delivery ON delivery.endpoint_id = endpoint.id
  WHERE endpoint.state = 'deleted' LIMIT :batch FOR UPDATE OF delivery SKIP LOCKED
)
""")
_DROP_ENDPOINTS = text("""
DELETE FROM webhook_endpoints AS endpoint WHERE state = 'deleted'
  AND NOT EXISTS (SELECT FROM webhook_deliveries AS delivery WHERE delivery.endpoint_id = endpoint.id)
""")


@dataclass(frozen=True)
class Room:
    """How many deliveries may be under way."""

    per_endpoint: int = 4
    per_tenant: int = 16
    altogether: int = 128


@dataclass(frozen=True)
class Taken:
    """A delivery that is ours until its lease runs out. `attempts`: those that failed before."""

    endpoint_id: uuid.UUID
    tenant_id: uuid.UUID
    claim: uuid.UUID
    attempts: int
    url: str
    secret_generation: int
    previous: bool
    event: Event


@dataclass(frozen=True)
class Failure:
    """`code`: not_allowed, timeout, http_500, …; `pause`: None when it is given up."""

    code: str
    status: int | None
    pause: timedelta | None


def take(sessions: sessionmaker[Session], room: Room, free: int, lease: float) -> Sequence[Taken]:
    """At most `free` deliveries that are due, ours for `lease` seconds."""
    claim = uuid.uuid4()
    with transaction(sessions, "delivery-taken") as session:
        bound = {"per_endpoint": room.per_endpoint, "per_tenant": room.per_tenant, "room": free}
        if not session.execute(_TAKE, bound | {"claim": claim, "lease": lease}).all():
            return []
        rows = session.execute(_READ, {"claim": claim}).all()
    return [
        Taken(
            endpoint_id=row.endpoint_id,
            tenant_id=row.tenant_id,
            claim=row.claim,
            attempts=row.attempts,
            url=row.url,
            secret_generation=row.secret_generation,
            previous=row.previous,
            event=Event(
                id=row.event_id,
                type=row.type,
                at=row.created_at,
                subject_id=row.subject_id,
                data=row.data,
                model=row.model,
                parent_id=row.parent_id,
            ),
        )
        for row in rows
    ]


def renew(sessions: sessionmaker[Session], held: Sequence[Taken], lease: float) -> None:
    """What is still ours is so for `lease` seconds from now."""
    bound = {
        "endpoints": [taken.endpoint_id for taken in held],
        "events": [taken.event.id for taken in held],
        "claims": [taken.claim for taken in held],
    }
    with transaction(sessions) as session:
        session.execute(_RENEW, bound | {"lease": lease})


def delivered(sessions: sessionmaker[Session], taken: Taken, status: int) -> None:
    _put_down(
        sessions,
        taken,
        status="delivered",
        attempts=taken.attempts + 1,
        last_status=status,
        last_error=None,
        finished_at=func.now(),
    )


def failed(sessions: sessionmaker[Session], taken: Taken, failure: Failure) -> None:
    """It waits for `failure.pause`, or becomes a dead letter."""
    told = {"attempts": taken.attempts + 1, "last_status": failure.status, "last_error": failure.code}
    if failure.pause is not None:
        _put_down(sessions, taken, next_attempt_at=func.now() + failure.pause, **told)
    else:
        _put_down(sessions, taken, status="dead", finished_at=func.now(), **told)


def gone(sessions: sessionmaker[Session], taken: Taken) -> None:
    """The receiver wants no more: the endpoint is disabled, and what waits for it becomes dead letters."""
    endpoint, delivery = WebhookEndpoint, WebhookDelivery
    with transaction(sessions) as session:
        disabled = session.execute(
            update(endpoint)
            .where(endpoint.id == taken.endpoint_id, endpoint.state == "enabled", endpoint.url == taken.url)
            .values(state="disabled", disabled_reason="gone")
            .returning(endpoint.id)
        ).one_or_none()
        ours = delivery.event_id == taken.event.id
        session.execute(
            update(delivery)
            .where(delivery.endpoint_id == taken.endpoint_id, ours, delivery.claim == taken.claim)
            .values(attempts=taken.attempts + 1, last_status=410)
        )
        if (
            disabled is None
        ):  # by another delivery, or sent elsewhere meanwhile: this one is simply tried again
            return
        session.execute(
            update(delivery)
            .where(delivery.endpoint_id == taken.endpoint_id, delivery.status == "pending")
            .values(status="dead", claim=None, last_error="gone", finished_at=func.now())
        )
        session.execute(
            audit_entry(taken.tenant_id, ACTOR, "webhook.disabled", taken.endpoint_id, reason="gone")
        )
    get_logger(__name__).warning("webhook_disabled", webhook_id=str(taken.endpoint_id), reason="gone")


def remove_old_deliveries(sessions: sessionmaker[Session], retention_days: float) -> None:
    """Some of what ended long ago, and of what was for endpoints that were deleted."""
    with transaction(sessions) as session:
        session.execute(_DROP_DELIVERIES, {"seconds": retention_days * 86_400, "batch": BATCH})
    with transaction(sessions) as session:
        session.execute(_DROP_ADDRESSED, {"batch": BATCH})
        session.execute(_DROP_ENDPOINTS)


def _put_down(sessions: sessionmaker[Session], taken: Taken, **values: object) -> None:
    """Unless its time had run out and somebody else has taken it up."""
    with transaction(sessions, "delivery-ended") as session:
        session.execute(
            update(WebhookDelivery)
            .where(
                WebhookDelivery.endpoint_id == taken.endpoint_id,
                WebhookDelivery.event_id == taken.event.id,
                WebhookDelivery.claim == taken.claim,
                WebhookDelivery.status == "pending",
            )
            .values(claim=None, **values)
        )
