"""Alarms before and after a request's dates, each raised once: in its history, the audit log and the log.

Raised for the request that the client sent (the one on the data set, where it has children), while it is
under way.
"""

from dataclasses import dataclass

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session, sessionmaker

from app.core.audit import audit_entry, event
from app.core.database import transaction
from app.core.logging import get_logger
from app.core.wire import rfc3339

ACTOR = "relay"
BATCH = 500

_UNFINISHED = "status NOT IN ('succeeded', 'failed', 'cancelled')"
_RAISE = """
UPDATE deletion_requests SET alarms = alarms || CAST(:alarm AS text), revision = revision + 1
WHERE id IN (
  SELECT r.id FROM deletion_requests r
  WHERE r.parent_id IS NULL AND r.due_at IS NOT NULL AND (r.status IS NULL OR r.{unfinished})
    AND NOT CAST(:alarm AS text) = ANY(r.alarms)
    AND {condition} AND r.{date} <= now() + make_interval(secs => :lead)
    AND (r.status IS NOT NULL
         OR EXISTS (SELECT FROM deletion_requests c WHERE c.parent_id = r.id AND c.{unfinished}))
  ORDER BY r.id LIMIT :batch FOR NO KEY UPDATE SKIP LOCKED
)
RETURNING id, tenant_id, {date} AS date
"""


@dataclass(frozen=True)
class _Alarm:
    name: str
    date: str
    condition: str

    @property
    def statement(self) -> TextClause:
        return text(_RAISE.format(unfinished=_UNFINISHED, condition=self.condition, date=self.date))


# What has passed makes the warning before it superfluous.
_ALARMS = (
    _Alarm("acknowledge_passed", "acknowledge_by", "r.acknowledged_at IS NULL"),
    _Alarm("acknowledge_soon", "acknowledge_by", "r.acknowledged_at IS NULL AND r.acknowledge_by > now()"),
    _Alarm("due_passed", "due_at", "true"),
    _Alarm("due_soon", "due_at", "r.due_at > now()"),
)


def raise_alarms(sessions: sessionmaker[Session], due_lead: float, acknowledge_lead: float) -> int:
    """How many were raised. The leads are seconds: how long before its date a request is warned of."""
    leads = {"due_soon": due_lead, "acknowledge_soon": acknowledge_lead}
    return sum(_raise(sessions, alarm, leads.get(alarm.name, 0.0)) for alarm in _ALARMS)


def _raise(sessions: sessionmaker[Session], alarm: _Alarm, lead: float) -> int:
    with transaction(sessions) as session:
        bound = {"alarm": alarm.name, "lead": lead, "batch": BATCH}
        rows = session.execute(alarm.statement, bound).all()
        for row in rows:
            kind, date = f"deadline.{alarm.name}", rfc3339(row.date)
            session.execute(event(row.tenant_id, row.id, kind, date=date))
            session.execute(audit_entry(row.tenant_id, ACTOR, kind, row.id, date=date))
            get_logger(__name__).warning(
                "deadline", alarm=alarm.name, deletion_request_id=str(row.id), date=date
            )
    return len(rows)
