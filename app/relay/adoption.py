"""Queued requests whose job is over, or that never had one, get a place in their model's open job."""

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.database import transaction
from app.core.logging import get_logger
from models import time_ordered_id

_LONELY = text("""
SELECT request.tenant_id, request.registered_model_id, request.method, min(request.due_at) AS due_at
FROM deletion_requests AS request
LEFT JOIN jobs AS job ON job.id = request.job_id
WHERE request.status = 'queued' AND (job.id IS NULL OR job.status IN ('succeeded', 'failed', 'cancelled'))
GROUP BY request.tenant_id, request.registered_model_id, request.method
LIMIT 1
""")
_OPEN = text("""
INSERT INTO jobs (id, tenant_id, kind, registered_model_id, method, accepts_requests, due_at)
VALUES (:job_id, :tenant_id, 'unlearn', :registered_model_id, :method, true, :due_at)
ON CONFLICT (registered_model_id, method) WHERE accepts_requests
DO UPDATE SET due_at = LEAST(jobs.due_at, excluded.due_at), revision = jobs.revision + 1
RETURNING id, xmax = 0 AS is_new
""")
_ADOPT = text("""
WITH placed AS (
  UPDATE deletion_requests AS request SET job_id = :job_id, revision = revision + 1
  WHERE registered_model_id = :registered_model_id AND method = :method AND status = 'queued'
    AND NOT EXISTS (
      SELECT FROM jobs WHERE jobs.id = request.job_id
        AND jobs.status NOT IN ('succeeded', 'failed', 'cancelled')
    )
  RETURNING id, tenant_id
), history AS (
  INSERT INTO events (tenant_id, subject_id, type, data)
  SELECT tenant_id, id, 'request.queued', jsonb_build_object('job', :job_id) FROM placed
)
INSERT INTO outbox (tenant_id, topic, job_id) SELECT tenant_id, 'wake', :job_id FROM placed LIMIT 1
""")
_OPENED = text("INSERT INTO events (tenant_id, subject_id, type) VALUES (:tenant_id, :job_id, 'job.queued')")


def adopt_requests(sessions: sessionmaker[Session]) -> int:
    """How many jobs took requests in. One transaction each."""
    adopted = 0
    while _adopt_some(sessions):
        adopted += 1
    return adopted


def _adopt_some(sessions: sessionmaker[Session]) -> bool:
    with transaction(sessions) as session:
        lonely = session.execute(_LONELY).mappings().one_or_none()
        if lonely is None:
            return False
        job = session.execute(_OPEN, {"job_id": time_ordered_id(), **lonely}).one()
        if job.is_new:
            session.execute(_OPENED, {"tenant_id": lonely["tenant_id"], "job_id": job.id})
        session.execute(_ADOPT, {"job_id": job.id, **lonely})
        get_logger(__name__).info("requests_adopted", job_id=str(job.id))
        return True
