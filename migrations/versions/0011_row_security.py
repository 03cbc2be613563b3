"""A wall between tenants in the database itself, a role of the relay's own, and keys that are limited to
models or were rotated.

What takes locks on tables that are read all the time is done table by table, each for a moment, and may be
done again. Policies do nothing until `migrations.row_security` switches them on: at once where no process
from before them is connected, and otherwise by the next `python -m migrations`.

Revision: 0011
"""

from pathlib import Path

from alembic import op
from sqlalchemy import text

from migrations.online import in_short_steps
from migrations.row_security import prepare, switch_on

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

OF_TENANTS = text("""
SELECT relname AS name, CASE relname WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END AS tenant,
  CASE WHEN relname = 'registered_models' THEN 'id' WHEN EXISTS (
    SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'registered_model_id'
  ) THEN 'registered_model_id' END AS model
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND (relname = 'tenants' OR EXISTS (
  SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'tenant_id' AND NOT attisdropped
)) ORDER BY 1
""")
FUNCTIONS = "find_api_key(text), names_of_tenants(), queue_gauges()"
DROP_ROLE = """
DO $$
BEGIN
  DROP ROLE IF EXISTS lethe_relay;
EXCEPTION WHEN dependent_objects_still_exist THEN NULL;
END $$
"""


def upgrade() -> None:
    roles, *rest = Path(__file__).with_suffix(".sql").read_text().split("\n;\n")
    with in_short_steps():
        op.execute(text(roles.replace(":", r"\:")))
        for table in op.get_bind().execute(OF_TENANTS).all():
            prepare(table.name, table.tenant, table.model)
    for statement in rest:
        op.execute(text(statement.replace(":", r"\:")))
    with in_short_steps():
        switch_on(op.get_bind())


def downgrade() -> None:
    for table in op.get_bind().execute(OF_TENANTS).all():
        for policy in ("of_the_named_tenant", "of_every_tenant", "of_everyone", "of_the_named_models"):
            op.execute(f"DROP POLICY IF EXISTS {policy} ON {table.name}")
        op.execute(f"ALTER TABLE {table.name} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY")
    op.execute(f"DROP FUNCTION {FUNCTIONS}")
    op.execute("ALTER TABLE api_keys DROP COLUMN model_ids, DROP COLUMN rotated_from_id")
    op.execute("GRANT SELECT, DELETE ON audit_unsealed TO lethe_app")
    op.execute("GRANT INSERT ON audit_seals, audit_checkpoints, signing_keys, certificates TO lethe_app")
    op.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM lethe_relay")
    op.execute("REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM lethe_relay")
    op.execute("REVOKE ALL ON SCHEMA public FROM lethe_relay")
    op.execute(DROP_ROLE)
