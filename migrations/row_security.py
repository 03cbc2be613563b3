"""Row-level security for tables that are in use: prepared at once, switched on when nothing depends on its
absence any more.

Processes from before it name no tenant and would see nothing, or write in a way (COPY) that it does not take.
They are known by what they called themselves to the database, which their successors do not; while one is
connected, the policies are there and do nothing.
"""

from alembic import op
from sqlalchemy import Connection, text

NAMED_TENANT = "(SELECT nullif(current_setting('lethe.tenant', true), '')::uuid)"
NAMED_MODELS = """CASE
  WHEN coalesce(current_setting('lethe.models', true), '') = '' THEN true
  ELSE {column} = ANY (current_setting('lethe.models', true)::uuid[])
END"""
EVERYONE = (
    "(SELECT session_user <> current_user OR coalesce(current_setting('lethe.everyone', true), '') = 'on')"
)
# In one statement, which locks one table and no other; again, if an earlier try has done it already.
_POLICIES = """
DO $do$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = '{table}'::regclass) THEN
    CREATE POLICY of_the_named_tenant ON {table} TO lethe_app USING ({column} = {tenant});
    CREATE POLICY of_every_tenant ON {table} TO lethe_relay, lethe_worker USING (true);
    CREATE POLICY of_everyone ON {table} TO CURRENT_USER USING ({everyone});
    {models}
  END IF;
END $do$
"""
_MODELS = "CREATE POLICY of_the_named_models ON {table} AS RESTRICTIVE TO lethe_app USING ({named});"

_OLDER_PROCESSES = text("""
SELECT DISTINCT application_name FROM pg_stat_activity
WHERE datname = current_database() AND (
  usename = 'lethe_app'
    AND application_name IN ('lethe-api', 'lethe-relay', 'lethe-relay-courier', 'lethe-relay-listener')
  OR usename = 'lethe_worker' AND application_name = 'lethe-worker'
)
ORDER BY 1
""")
_STILL_OPEN = text("""
SELECT relname FROM pg_class JOIN pg_policy ON polrelid = pg_class.oid AND polname = 'of_the_named_tenant'
WHERE NOT (relrowsecurity AND relforcerowsecurity) ORDER BY 1
""")
# What the API's role could do when it was the relay's, too.
_NO_LONGER = (
    "REVOKE ALL ON audit_unsealed FROM lethe_app",
    "REVOKE INSERT ON audit_seals, audit_checkpoints, signing_keys, certificates FROM lethe_app",
)


def prepare(table: str, column: str = "tenant_id", model_column: str | None = None) -> None:
    """Policies for a table that holds rows of tenants, and of their models if a column says which. They do
    nothing before the table is switched on."""
    named = NAMED_MODELS.format(column=model_column)
    op.execute(
        text(
            _POLICIES.format(
                table=table,
                column=column,
                tenant=NAMED_TENANT,
                everyone=EVERYONE,
                models=_MODELS.format(table=table, named=named) if model_column else "",
            ).replace(":", r"\:")
        )
    )


def switch_on(connection: Connection) -> list[str]:
    """For every table that is prepared, unless processes from before it are connected: their names."""
    older = list(connection.scalars(_OLDER_PROCESSES))
    if older:
        return older
    for table in list(connection.scalars(_STILL_OPEN)):
        connection.execute(text(f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY'))
    for statement in _NO_LONGER:
        connection.execute(text(statement))
    return []
