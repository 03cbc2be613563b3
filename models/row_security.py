"""Row-level security: the second wall between tenants, behind the WHERE of every query.

The API (lethe_app) sees the rows of the tenant that its transaction names in `lethe.tenant`, and none where
it names none; and where `lethe.models` lists models, of what belongs to models those of the list only. Relay
and worker, who serve every tenant, see all. The owner sees nothing until he says `lethe.everyone`, but for
functions that others call with his rights. `app.core.sight` is where transactions name a tenant.
"""

from collections.abc import Iterator

from models.base import Base
from models.queue_gauges import QUEUE_GAUGES
from models.row_security_switch import SWITCH, SWITCH_ON

# Tables that hold nothing of a tenant's: rules, public keys, and numbers of rows of the audit log.
OF_NO_TENANT = ("state_transitions", "signing_keys", "audit_unsealed")

# Evaluated once per statement, and not once per row, because it is a subquery.
NAMED_TENANT = "(SELECT nullif(current_setting('lethe.tenant', true), '')::uuid)"
# CASE, because nothing is known of how many rows an OR would leave; no subqueries, because each of them takes
# longer to plan, in every statement and per table, than what it would spare.
NAMED_MODELS = """CASE
  WHEN coalesce(current_setting('lethe.models', true), '') = '' THEN true
  ELSE {column} = ANY (current_setting('lethe.models', true)::uuid[])
END"""
EVERYONE = (
    "(SELECT session_user <> current_user OR coalesce(current_setting('lethe.everyone', true), '') = 'on')"
)

# What the API has to know of more than one tenant, and nothing else. Each is the owner's, and narrow.
FUNCTIONS = {
    "find_api_key(text)": """
CREATE FUNCTION find_api_key(public_id text) RETURNS SETOF api_keys LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM public.api_keys AS found WHERE found.public_id = find_api_key.public_id $$
""",
    "names_of_tenants()": """
CREATE FUNCTION names_of_tenants() RETURNS TABLE (id uuid, name text) LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT tenant.id, tenant.name FROM public.tenants AS tenant $$
""",
    "queue_gauges()": QUEUE_GAUGES,
}


def columns() -> dict[str, str]:
    """Table → the column that says whose its rows are, of every table that holds rows of tenants."""
    tables = {table.name for table in Base.metadata.sorted_tables} - set(OF_NO_TENANT)
    return {table: "id" if table == "tenants" else "tenant_id" for table in sorted(tables)}


def statements() -> Iterator[str]:
    """After tables, roles and grants."""
    for table, column in columns().items():
        yield f"CREATE POLICY of_the_named_tenant ON {table} TO lethe_app USING ({column} = {NAMED_TENANT})"
        yield f"CREATE POLICY of_every_tenant ON {table} TO lethe_relay, lethe_worker USING (true)"
        yield f"CREATE POLICY of_everyone ON {table} TO CURRENT_USER USING ({EVERYONE})"
        model = "id" if table == "registered_models" else "registered_model_id"
        if model in Base.metadata.tables[table].columns and table != "tenants":
            named = NAMED_MODELS.format(column=model)
            yield (
                f"CREATE POLICY of_the_named_models ON {table} AS RESTRICTIVE TO lethe_app USING ({named})"
            )
        yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
    for signature, definition in FUNCTIONS.items():
        yield definition
        yield f"REVOKE EXECUTE ON FUNCTION {signature} FROM PUBLIC"
        yield f"GRANT EXECUTE ON FUNCTION {signature} TO lethe_app"
    yield SWITCH_ON
    yield f"REVOKE EXECUTE ON FUNCTION {SWITCH} FROM PUBLIC"
    yield f"GRANT EXECUTE ON FUNCTION {SWITCH} TO lethe_relay"
