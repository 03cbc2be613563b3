"""What must hold of one tenant's rows between any two transactions, whatever happened before: one query."""

from typing import Any

from tests.machine.queue import Queue

# Which states a request of a job in each state can be in.
_TOGETHER = """
  ('queued', '{queued, cancelled}'), ('running', '{running, cancelling, cancelled}'),
  ('cancelling', '{cancelling, cancelled}'), ('needs_review', '{needs_review, cancelled}'),
  ('succeeded', '{succeeded, cancelled}'), ('failed', '{failed, cancelled}'), ('cancelled', '{cancelled}')
"""

_BROKEN = f"""
WITH own AS (SELECT * FROM jobs WHERE tenant_id = :tenant),
asked AS (SELECT * FROM deletion_requests WHERE tenant_id = :tenant),
line AS (
  SELECT m.id, m.head_version_id, count(*) AS versions, max(v.number) AS newest,
    array_agg(v.id) FILTER (WHERE v.state = 'published') AS published,
    (SELECT version_id FROM aliases WHERE registered_model_id = m.id AND name = 'latest') AS latest
  FROM registered_models m JOIN model_versions v ON v.registered_model_id = m.id
  WHERE m.tenant_id = :tenant GROUP BY m.id
),
tried AS (
  SELECT own.id, own.fence, own.attempt, own.status, own.error_code,
    count(a.id) AS attempts,
    count(*) FILTER (WHERE a.id IS NOT NULL AND a.outcome IS NULL) AS open,
    count(*) FILTER (WHERE a.id IS NOT NULL AND a.outcome IS DISTINCT FROM 'released'
      AND a.fence > coalesce(reviewed.fence, 0)) AS counted,
    count(*) FILTER (WHERE a.outcome IS NULL AND a.fence < own.fence) AS left_open
  FROM own LEFT JOIN attempts a ON a.job_id = own.id LEFT JOIN LATERAL (
    SELECT max(fence) AS fence FROM attempts WHERE job_id = own.id AND outcome = 'needs_review'
  ) AS reviewed ON true  -- what came of it was looked at by a person: the count begins anew
  GROUP BY own.id, own.fence, own.attempt, own.status, own.error_code
)
SELECT 'the versions have gaps' AS broken, id FROM line WHERE versions <> newest
UNION ALL SELECT 'not the head alone is published', id FROM line WHERE published <> ARRAY[head_version_id]
UNION ALL SELECT 'latest is not the head', id FROM line WHERE latest <> head_version_id
UNION ALL SELECT 'a claim is not on record', id FROM tried WHERE attempts <> fence
UNION ALL SELECT 'an attempt has no end, or none is under way', id FROM tried
  WHERE open <> CAST(status IN ('running', 'cancelling') AS int) OR left_open > 0
UNION ALL SELECT 'attempts are miscounted', id FROM tried
  WHERE attempt <> counted AND status IN ('queued', 'running', 'needs_review', 'failed')
UNION ALL SELECT 'tried too often', id FROM tried WHERE attempt > :most OR counted > :most
UNION ALL SELECT 'given up too early', id FROM tried
  WHERE status = 'failed' AND error_code IN ('worker_error', 'worker_lost') AND attempt < :most
UNION ALL SELECT 'a request is ' || asked.status || ' in a job that is ' || own.status, asked.id
  FROM asked JOIN own ON own.id = asked.job_id
  JOIN (VALUES {_TOGETHER}) AS together (job, requests) ON together.job = own.status
  WHERE asked.status <> ALL (CAST(together.requests AS text[]))
UNION ALL SELECT 'a request has no job', id FROM asked
  WHERE job_id IS NULL AND status IN ('running', 'cancelling', 'needs_review', 'succeeded')
UNION ALL SELECT 'it went without a person''s word', id FROM asked
  WHERE approval IS NOT NULL AND approved_at IS NULL
    AND status NOT IN ('awaiting_approval', 'cancelled', 'failed')
UNION ALL SELECT 'failed without a reason', id FROM asked WHERE status = 'failed' AND error_code IS NULL
UNION ALL SELECT 'succeeded by no version, or has one all the same', id FROM asked
  WHERE (status = 'succeeded') <> (result_version_id IS NOT NULL)
UNION ALL SELECT 'published by a job that did not succeed', v.id
  FROM model_versions v JOIN own ON own.id = v.job_id WHERE own.status <> 'succeeded'
UNION ALL SELECT 'the head has forgotten somebody whose request did not succeed', asked.id
  FROM line JOIN model_versions v ON v.id = line.head_version_id
  JOIN asked ON v.report -> 'run' -> 'requests' ? CAST(asked.id AS text) WHERE asked.status <> 'succeeded'
"""
_LEDGER = """
WITH wanted AS (
  SELECT r.registered_model_id, i.instance_hash, task FROM deletion_requests r
  JOIN deletion_request_items i ON i.deletion_request_id = r.id, unnest(r.tasks) AS task
  WHERE r.tenant_id = :tenant AND r.status = 'succeeded'
), entered AS (
  SELECT registered_model_id, instance_hash, task FROM forgotten_supervision
  WHERE tenant_id = :tenant AND version_id IS NOT NULL
)
(TABLE wanted EXCEPT TABLE entered) UNION ALL (TABLE entered EXCEPT TABLE wanted)
"""


def broken(queue: Queue) -> list[str]:
    """Empty when all is well."""
    bound: dict[str, Any] = {"tenant": queue.caller.tenant_id, "most": queue.settings.max_attempts}
    return [f"{row.broken}: {row.id}" for row in queue.world.rows(_BROKEN, **bound)]


def pairs_that_differ(queue: Queue) -> int:
    """Between the ledger and what succeeded requests named."""
    return len(queue.world.rows(_LEDGER, tenant=queue.caller.tenant_id))
