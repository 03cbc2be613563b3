"""The courier's round of OpenDSR callbacks.

A callback is due while the request's status is another than the one it was told last: nothing has to be
written down when a status changes, and nothing can be lost. Statuses that came and went in between are not
told.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.database import transaction
from app.core.rows import AnyRow
from app.opendsr.answers import told
from app.opendsr.signing import BodySigner
from app.opendsr.status import STATUS
from app.relay.parcels import Outcome
from app.webhooks.retrying import pause_after

GONE = 410

_TAKE = text(f"""
WITH busy AS (
  SELECT tenant_id, count(*) AS under_way FROM opendsr_callbacks
  WHERE claim IS NOT NULL AND next_attempt_at > now() GROUP BY tenant_id
), due AS (
  SELECT c.id, c.tenant_id, c.next_attempt_at, now_is.status
  FROM opendsr_callbacks AS c
  JOIN opendsr_requests AS r ON r.id = c.opendsr_request_id
  JOIN LATERAL (SELECT {STATUS} AS status) AS now_is ON now_is.status IS DISTINCT FROM c.told_status
  WHERE c.next_attempt_at <= now() AND c.given_up_at IS NULL
    AND (c.told_status IS NULL OR c.told_status NOT IN ('completed', 'cancelled'))
  FOR NO KEY UPDATE OF c SKIP LOCKED
), placed AS (
  SELECT id, status, coalesce(busy.under_way, 0) +
    row_number() OVER (PARTITION BY due.tenant_id ORDER BY due.next_attempt_at, due.id) AS place
  FROM due LEFT JOIN busy ON busy.tenant_id = due.tenant_id
), chosen AS (
  SELECT id, status FROM placed WHERE place <= :per_tenant ORDER BY place LIMIT :room
)
UPDATE opendsr_callbacks AS c SET claim = :claim, next_attempt_at = now() + make_interval(secs => :lease)
FROM chosen, opendsr_requests AS r
WHERE c.id = chosen.id AND r.id = c.opendsr_request_id
RETURNING c.id, c.url, c.attempts, chosen.status, r.tenant_id, r.subject_request_id, r.expected_at,
  r.api_version, r.instance_count
""")  # noqa: S608 (a constant of ours)
_RENEW = text("""
UPDATE opendsr_callbacks AS c SET next_attempt_at = now() + make_interval(secs => :lease)
FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS uuid[])) AS held(id, claim)
WHERE c.id = held.id AND c.claim = held.claim
""")
_TOLD = text(
    "UPDATE opendsr_callbacks SET told_status = :status, attempts = 0, last_error = NULL, claim = NULL,"
    " next_attempt_at = now() WHERE id = :id AND claim = :claim"
)
_FAILED = text(
    "UPDATE opendsr_callbacks SET attempts = attempts + 1, last_error = :code, claim = NULL,"
    " next_attempt_at = now() + make_interval(secs => :pause),"
    " given_up_at = CASE WHEN :give_up THEN now() END WHERE id = :id AND claim = :claim"
)


@dataclass(frozen=True)
class CallbackRound:
    sessions: sessionmaker[Session]
    signer: BodySigner
    per_tenant: int = 8

    def take(self, free: int, lease: float) -> Sequence["CallbackParcel"]:
        claim = uuid.uuid4()
        bound = {"per_tenant": self.per_tenant, "room": free, "claim": claim, "lease": lease}
        with transaction(self.sessions) as session:
            rows = session.execute(_TAKE, bound).all()
        return [CallbackParcel(self.sessions, self.signer, claim, row) for row in rows]

    def renew(self, parcels: Sequence["CallbackParcel"], lease: float) -> None:
        bound = {"ids": [each.row.id for each in parcels], "claims": [each.claim for each in parcels]}
        with transaction(self.sessions) as session:
            session.execute(_RENEW, bound | {"lease": lease})


@dataclass(frozen=True)
class CallbackParcel:
    sessions: sessionmaker[Session]
    signer: BodySigner
    claim: uuid.UUID
    row: AnyRow

    @property
    def url(self) -> str:
        url: str = self.row.url
        return url

    @property
    def names(self) -> dict[str, str | int]:
        return {"opendsr_callback_id": str(self.row.id)}

    def pack(self) -> tuple[dict[str, str], bytes]:
        """Specification, section 8.6."""
        body = json.dumps(told(self.row) | {"status_callback_url": self.url}).encode()
        headers = {"content-type": "application/json", "user-agent": "Lethe-OpenDSR"}
        return headers | self.signer.headers(body), body

    def settle(self, outcome: Outcome) -> None:
        bound = {"id": self.row.id, "claim": self.claim}
        with transaction(self.sessions) as session:
            if outcome.code is None:
                session.execute(_TOLD, bound | {"status": self.row.status})
                return
            pause = None if outcome.status == GONE else pause_after(self.row.attempts + 1)
            seconds = pause.total_seconds() if pause is not None else 0.0
            session.execute(
                _FAILED, bound | {"code": outcome.code, "pause": seconds, "give_up": pause is None}
            )
