DO $$
DECLARE name text;
BEGIN
  -- Roles belong to the whole server: two databases of one server may be migrated at once.
  PERFORM pg_advisory_xact_lock(hashtext('lethe roles'));
  FOREACH name IN ARRAY ARRAY['lethe_app', 'lethe_relay', 'lethe_worker'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I LOGIN', name);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
      END;
    END IF;
  END LOOP;
END $$
;
GRANT USAGE ON SCHEMA public TO lethe_relay
;
GRANT SELECT ON tenants TO lethe_relay
;
GRANT SELECT, UPDATE ON artifacts TO lethe_relay
;
GRANT SELECT, UPDATE ON datasets TO lethe_relay
;
GRANT SELECT, UPDATE ON registered_models TO lethe_relay
;
GRANT SELECT ON dataset_instances TO lethe_relay
;
GRANT SELECT ON model_tasks TO lethe_relay
;
GRANT SELECT, UPDATE ON model_versions TO lethe_relay
;
GRANT SELECT ON former_datasets TO lethe_relay
;
GRANT SELECT ON legal_holds TO lethe_relay
;
GRANT SELECT ON aliases TO lethe_relay
;
GRANT SELECT, DELETE ON instance_lists TO lethe_relay
;
GRANT SELECT, INSERT, UPDATE ON deletion_requests TO lethe_relay
;
GRANT SELECT, INSERT ON deletion_request_items TO lethe_relay
;
GRANT SELECT ON forgotten_supervision TO lethe_relay
;
GRANT SELECT, UPDATE, DELETE ON idempotency_keys TO lethe_relay
;
GRANT SELECT, INSERT ON events TO lethe_relay
;
GRANT SELECT, INSERT, UPDATE ON jobs TO lethe_relay
;
GRANT SELECT, UPDATE ON attempts TO lethe_relay
;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox TO lethe_relay
;
GRANT SELECT, INSERT ON audit_log TO lethe_relay
;
GRANT SELECT, DELETE ON audit_unsealed TO lethe_relay
;
GRANT SELECT, INSERT ON audit_seals TO lethe_relay
;
GRANT SELECT, INSERT ON audit_checkpoints TO lethe_relay
;
GRANT SELECT, INSERT ON signing_keys TO lethe_relay
;
GRANT SELECT, INSERT ON certificates TO lethe_relay
;
GRANT SELECT ON opendsr_requests TO lethe_relay
;
GRANT SELECT, UPDATE ON opendsr_callbacks TO lethe_relay
;
GRANT SELECT, UPDATE ON webhook_endpoints TO lethe_relay
;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_deliveries TO lethe_relay
;
GRANT SELECT ON state_transitions TO lethe_relay
;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO lethe_relay
;
ALTER TABLE api_keys ADD COLUMN model_ids UUID[], ADD COLUMN rotated_from_id UUID,
  ADD CONSTRAINT ck_api_keys_limited_to_something CHECK (model_ids <> '{}'),
  ADD CONSTRAINT fk_api_keys_tenant_id_rotated_from_id FOREIGN KEY (tenant_id, rotated_from_id)
    REFERENCES api_keys (tenant_id, id)
;
CREATE FUNCTION find_api_key(public_id text) RETURNS SETOF api_keys LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM public.api_keys AS found WHERE found.public_id = find_api_key.public_id $$
;
REVOKE EXECUTE ON FUNCTION find_api_key(text) FROM PUBLIC
;
GRANT EXECUTE ON FUNCTION find_api_key(text) TO lethe_app
;
CREATE FUNCTION names_of_tenants() RETURNS TABLE (id uuid, name text) LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT tenant.id, tenant.name FROM public.tenants AS tenant $$
;
REVOKE EXECUTE ON FUNCTION names_of_tenants() FROM PUBLIC
;
GRANT EXECUTE ON FUNCTION names_of_tenants() TO lethe_app
;
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
;
REVOKE EXECUTE ON FUNCTION queue_gauges() FROM PUBLIC
;
GRANT EXECUTE ON FUNCTION queue_gauges() TO lethe_app
