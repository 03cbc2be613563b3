"""What operators measure the queue by, over all tenants: a function of the owner's, because the API that is
asked for it sees one tenant at a time. It gives numbers and names, and no row."""

# Ids are time-ordered: the primary key finds the last day's. A version 7 UUID begins with 48 bits of Unix
# milliseconds.
QUEUE_GAUGES = """
CREATE FUNCTION queue_gauges() RETURNS jsonb LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
WITH recent AS (
  SELECT attempt.job_id, attempt.outcome, attempt.error_code FROM public.attempts AS attempt
  WHERE attempt.id > CAST(lpad(to_hex(CAST(extract(epoch FROM now() - interval '1 day') * 1000 AS bigint)),
                               12, '0') || repeat('0', 20) AS uuid)
), runs AS (
  SELECT report -> 'run' AS run FROM public.jobs WHERE report -> 'run' IS NOT NULL
    AND id IN (SELECT job_id FROM recent WHERE outcome = 'succeeded')
), queue AS (
  SELECT count(*) FILTER (WHERE status = 'queued') AS queued,
    count(*) FILTER (WHERE status IN ('running', 'cancelling')) AS running,
    count(*) FILTER (WHERE status = 'needs_review') AS needs_review,
    count(*) FILTER (WHERE lease_expires_at < now()) AS expired,
    coalesce(extract(epoch FROM now() - min(created_at)
      FILTER (WHERE status = 'queued' AND not_before <= now())), 0) AS oldest,
    (SELECT count(*) FROM public.outbox WHERE sent_at IS NULL) AS unsent,
    (SELECT count(*) FROM public.webhook_deliveries WHERE status = 'pending' AND attempts > 0) AS failing,
    (SELECT count(*) FROM public.webhook_deliveries
     WHERE status <> 'pending' AND status = 'dead' AND finished_at > now() - interval '1 day') AS given_up
  FROM public.jobs WHERE status IN ('queued', 'running', 'cancelling', 'needs_review')
), of_models AS (
  SELECT tenant.name AS tenant, model.name AS model, count(*) AS unsettled,
    extract(epoch FROM now() - min(request.created_at)) AS oldest,
    extract(epoch FROM min(request.due_at) - now()) / 86400 AS due_days,
    count(*) FILTER (WHERE request.status = 'awaiting_approval') AS awaiting
  FROM public.deletion_requests AS request
  JOIN public.registered_models AS model ON model.id = request.registered_model_id
  JOIN public.tenants AS tenant ON tenant.id = request.tenant_id
  WHERE request.status NOT IN ('succeeded', 'failed', 'cancelled')
  GROUP BY tenant.name, model.name
), outcomes AS (
  SELECT coalesce(outcome, 'running') AS label, count(*) AS value FROM recent GROUP BY 1
), failures AS (
  SELECT error_code AS label, count(*) AS value FROM recent WHERE error_code IS NOT NULL GROUP BY 1
), phases AS (
  SELECT phase.key AS label, avg(CAST(phase.value AS float8)) AS value,
    max(CAST(phase.value AS float8)) AS most
  FROM runs, jsonb_each_text(CASE jsonb_typeof(run -> 'seconds') WHEN 'object' THEN run -> 'seconds'
    ELSE '{}' END) AS phase GROUP BY 1
), memory AS (
  SELECT coalesce(run ->> 'device', 'unknown') AS label,
    max(CAST(run ->> 'peak_memory_bytes' AS float8)) AS value FROM runs GROUP BY 1
)
SELECT jsonb_build_object(
  'queue', (SELECT to_jsonb(queue) FROM queue),
  'models', (SELECT coalesce(jsonb_agg(to_jsonb(of_models)), '[]') FROM of_models),
  'attempts', (SELECT coalesce(jsonb_agg(to_jsonb(outcomes)), '[]') FROM outcomes),
  'failures', (SELECT coalesce(jsonb_agg(to_jsonb(failures)), '[]') FROM failures),
  'phases', (SELECT coalesce(jsonb_agg(to_jsonb(phases)), '[]') FROM phases),
  'memory', (SELECT coalesce(jsonb_agg(to_jsonb(memory)), '[]') FROM memory)
)
$$
"""
