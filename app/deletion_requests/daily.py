"""Instances that a tenant may ask to be forgotten in a day without a person's word.

A request on a data set counts once, however many models learned from it. What a person approved of, what was
taken back and what failed does not count.
"""

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.core.settings import Settings
from app.deletion_requests.allowance import Reason

_HOLD = text("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:tenant_id AS text), 11))")
# Ids are time-ordered (RFC 9562 section 5.7): the day's are a range of the index on (tenant_id, id).
_ASKED = text("""
SELECT coalesce(sum(r.instance_count - r.already_forgotten), 0) AS asked, max(t.instances_per_day) AS own
FROM tenants t LEFT JOIN deletion_requests r
  ON r.tenant_id = t.id AND r.id > CAST(:first_id AS uuid) AND r.parent_id IS NULL AND r.approved_at IS NULL
    AND CASE WHEN r.status IS NULL THEN EXISTS (
      SELECT FROM deletion_requests c WHERE c.parent_id = r.id AND c.approved_at IS NULL
        AND c.status NOT IN ('awaiting_approval', 'failed', 'cancelled')
    ) ELSE r.status NOT IN ('awaiting_approval', 'failed', 'cancelled') END
WHERE t.id = :tenant_id
""")
# A count is good for a moment, with what this process has let pass since added, for requests that are small
# beside what is left: nobody adds up a day for every single one.
_SECONDS = 5.0
_SMALL = 200


@dataclass(slots=True)
class _Count:
    asked: int
    most: int
    until: float


_counts: dict[uuid.UUID, _Count] = {}


def too_many(session: Session, tenant_id: uuid.UUID, settings: Settings, instances: int) -> list[Reason]:
    """Why `instances` more need a person's word; empty when they do not."""
    known = _counts.get(tenant_id)
    fresh = known is not None and known.until > time.monotonic()
    if known is not None and fresh and instances * _SMALL <= known.most - known.asked:
        known.asked += instances
        return []
    session.execute(_HOLD, {"tenant_id": tenant_id})
    day_ago = datetime.now(UTC) - timedelta(days=1)
    first_id = uuid.UUID(int=int(day_ago.timestamp() * 1000) << 80)
    row = session.execute(_ASKED, {"tenant_id": tenant_id, "first_id": first_id}).one()
    most = settings.instances_per_day if row.own is None else row.own
    _forget_old_counts()
    _counts[tenant_id] = _Count(int(row.asked) + instances, most, time.monotonic() + _SECONDS)
    if row.asked + instances <= most:
        return []
    detail = (
        f"With these, {row.asked + instances} instances were asked to be forgotten within a day; {most} may "
        "be without a person's approval."
    )
    return [Reason("instances_per_day", detail, limit=most)]


def _forget_old_counts() -> None:
    for tenant_id in [each for each, count in _counts.items() if count.until < time.monotonic()]:
        del _counts[tenant_id]
