"""The relay may switch row-level security on, once no process from before it is connected any more.

Revision: 0015
"""

from alembic import op
from sqlalchemy import text

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

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


def upgrade() -> None:
    op.execute(text(SWITCH_ON))
    op.execute("REVOKE EXECUTE ON FUNCTION switch_row_security_on() FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION switch_row_security_on() TO lethe_relay")


def downgrade() -> None:
    op.execute("DROP FUNCTION switch_row_security_on()")
