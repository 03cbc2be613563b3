"""Switching row-level security on where it was prepared under processes from before it (migration 0011).

Such processes name no tenant and would see nothing. They are known by what they called themselves to the
database, which their successors do not.
"""

SWITCH = "switch_row_security_on()"
SWITCH_ON = """
CREATE FUNCTION switch_row_security_on() RETURNS text[] LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  open_table name;
  older text[];
BEGIN
  SELECT relname INTO open_table FROM pg_class JOIN pg_policy
    ON polrelid = pg_class.oid AND polname = 'of_the_named_tenant'
  WHERE NOT (relrowsecurity AND relforcerowsecurity) ORDER BY 1 LIMIT 1;
  IF open_table IS NULL THEN
    RETURN NULL;
  END IF;
  SELECT array_agg(DISTINCT application_name ORDER BY application_name) INTO older FROM pg_stat_activity
  WHERE datname = current_database() AND (
    usename = 'lethe_app'
      AND application_name IN ('lethe-api', 'lethe-relay', 'lethe-relay-courier', 'lethe-relay-listener')
    OR usename = 'lethe_worker' AND application_name = 'lethe-worker'
  );
  IF older IS NOT NULL THEN
    RETURN older;
  END IF;
  EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', open_table);
  REVOKE ALL ON public.audit_unsealed FROM lethe_app;
  REVOKE INSERT ON public.audit_seals, public.audit_checkpoints, public.signing_keys, public.certificates
    FROM lethe_app;
  RETURN '{}';
END
$$
"""
"""One table per call, so that no lock is held while another is waited for. Returns NULL when nothing is left
to switch on; the names of older processes while some are connected, when it does nothing; and else '{}'."""
