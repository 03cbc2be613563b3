"""Wake-ups for the workers, written in the transaction of what they are about.

A trigger tells the relay of new rows when that transaction commits; the relay sends them. A wake-up says
that there is something to claim, not what: it may come twice, late, or for a job that is done.
"""

import uuid

from sqlalchemy import Insert, TextClause, insert, text

from models import OutboxMessage

WAKE_TOPIC = "wake"

_NEXT_OF_MODEL = """
INSERT INTO outbox (tenant_id, topic, job_id)
SELECT tenant_id, 'wake', id FROM jobs
WHERE registered_model_id = :registered_model_id AND status = 'queued' AND not_before <= now()
ORDER BY approved_at NULLS LAST, due_at NULLS LAST, created_at, id
LIMIT 1
"""


def wake(tenant_id: uuid.UUID, job_id: uuid.UUID) -> Insert:
    """The statement that has a worker woken for a job which can be claimed once this has committed."""
    return insert(OutboxMessage).values(tenant_id=tenant_id, topic=WAKE_TOPIC, job_id=job_id)


def wake_next_of_model(registered_model_id: uuid.UUID) -> TextClause:
    """The statement for the job that stood behind one which no longer holds up its model's line."""
    return text(_NEXT_OF_MODEL).bindparams(registered_model_id=registered_model_id)
