"""Rules that live in the database beside the tables: roles, grants, triggers.

Written as DDL that follows `create_all`, so that tables made from here and tables made by the
migrations are the same; a test compares the two.
"""

from sqlalchemy import Column, Connection, MetaData, Table, Text, event
from sqlalchemy import text as sql

from models import row_security
from models.base import Base
from models.states import MACHINES

STATE_TRANSITIONS = Table(
    "state_transitions",
    Base.metadata,
    Column("machine", Text, primary_key=True),
    Column("before", Text, primary_key=True),
    Column("after", Text, primary_key=True),
)

ROLES = """
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
"""

ENFORCE_TRANSITION = """
CREATE FUNCTION enforce_transition() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  old_state text := to_jsonb(OLD) ->> TG_ARGV[0];
  new_state text := to_jsonb(NEW) ->> TG_ARGV[0];
BEGIN
  IF old_state IS DISTINCT FROM new_state AND NOT EXISTS (
    SELECT FROM state_transitions t
    WHERE t.machine = TG_TABLE_NAME
      AND t.before = old_state AND t.after = new_state
  ) THEN
    RAISE EXCEPTION '% cannot go from % to %', TG_TABLE_NAME, old_state, new_state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'enforce_transition';
  END IF;
  RETURN NEW;
END $$
"""

NOTIFY_OUTBOX = """
CREATE FUNCTION notify_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('lethe_outbox', '');
  RETURN NULL;
END $$
"""

NOTE_STATE_CHANGE = """
CREATE FUNCTION note_state_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state IS DISTINCT FROM NEW.state THEN
    NEW.state_since := now();
  END IF;
  RETURN NEW;
END $$
"""

REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'rows of % are never changed or removed', TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege';
END $$
"""

# In the transaction that wrote the rows. Each transaction notes rows of its own: nobody waits for another.
# With the owner's rights, so that no role can note what it did not write.
NOTE_UNSEALED = """
CREATE FUNCTION note_unsealed() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO public.audit_unsealed (entry_id) SELECT id FROM written;
  RETURN NULL;
END $$
"""
# Otherwise any role could have it run for a table of its own.
ONLY_OF_THE_LOG = "REVOKE EXECUTE ON FUNCTION note_unsealed() FROM PUBLIC"

# In the transaction that wrote the events: what happened, and who is to be told of it. Endpoints are held
# against being removed meanwhile. With the owner's rights, as above.
TELL_ENDPOINTS = """
CREATE FUNCTION tell_endpoints() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO public.webhook_deliveries (endpoint_id, event_id, tenant_id)
  SELECT endpoint.id, written.id, written.tenant_id
  FROM written JOIN public.webhook_endpoints AS endpoint ON endpoint.tenant_id = written.tenant_id
  WHERE endpoint.state = 'enabled' AND written.type <> 'webhook.ping'
    AND endpoint.events && ARRAY['*', written.type, split_part(written.type, '.', 1) || '.*']
  FOR KEY SHARE OF endpoint;
  IF FOUND THEN
    PERFORM pg_notify('lethe_outbox', '');
  END IF;
  RETURN NULL;
END $$
"""
ONLY_OF_THE_EVENTS = "REVOKE EXECUTE ON FUNCTION tell_endpoints() FROM PUBLIC"

# Table → what the application and the worker may do with it. Sealing and certifying are the relay's.
GRANTS: dict[str, tuple[str, str]] = {
    "tenants": ("SELECT, INSERT, UPDATE", "SELECT, UPDATE"),
    "api_keys": ("SELECT, INSERT, UPDATE", ""),
    "artifacts": ("SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
    "datasets": ("SELECT, INSERT, UPDATE", "SELECT, UPDATE"),
    "dataset_instances": ("SELECT", "SELECT, INSERT, DELETE"),
    "registered_models": ("SELECT, INSERT, UPDATE", "SELECT, UPDATE"),
    "model_tasks": ("SELECT, INSERT, UPDATE", "SELECT, UPDATE"),
    "model_versions": ("SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
    "former_datasets": ("SELECT, INSERT", "SELECT"),
    "legal_holds": ("SELECT, INSERT, UPDATE", ""),
    "aliases": ("SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
    "instance_lists": ("SELECT, INSERT, DELETE", ""),
    "instance_list_items": ("SELECT, INSERT, DELETE", ""),
    "deletion_requests": ("SELECT, INSERT, UPDATE", "SELECT, UPDATE"),
    "deletion_request_items": ("SELECT, INSERT", "SELECT"),
    "forgotten_supervision": ("SELECT, UPDATE", "SELECT, INSERT, UPDATE"),
    "idempotency_keys": ("SELECT, INSERT, UPDATE, DELETE", ""),
    "events": ("SELECT, INSERT", "SELECT, INSERT"),
    "jobs": ("SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
    "attempts": ("SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
    "outbox": ("SELECT, INSERT, UPDATE, DELETE", "SELECT, INSERT"),
    "audit_log": ("SELECT, INSERT", "SELECT, INSERT"),
    "audit_unsealed": ("", ""),
    "audit_seals": ("SELECT", ""),
    "audit_checkpoints": ("SELECT", ""),
    "signing_keys": ("SELECT", ""),
    "certificates": ("SELECT", ""),
    "opendsr_requests": ("SELECT, INSERT, UPDATE", ""),
    "opendsr_callbacks": ("SELECT, INSERT, UPDATE", ""),
    "identity_instances": ("SELECT, INSERT, DELETE", ""),
    "webhook_endpoints": ("SELECT, INSERT, UPDATE, DELETE", ""),
    "webhook_deliveries": ("SELECT, INSERT, UPDATE, DELETE", ""),
    "state_transitions": ("SELECT", "SELECT"),
}

# Table → what the relay may do with it: no API keys, and nothing of what only clients name.
RELAY_GRANTS: dict[str, str] = {
    "tenants": "SELECT",
    "artifacts": "SELECT, UPDATE",
    "datasets": "SELECT, UPDATE",
    "registered_models": "SELECT, UPDATE",
    "dataset_instances": "SELECT",
    "model_tasks": "SELECT",
    "model_versions": "SELECT, UPDATE",
    "former_datasets": "SELECT",
    "legal_holds": "SELECT, UPDATE",
    "aliases": "SELECT",
    "instance_lists": "SELECT, DELETE",
    "deletion_requests": "SELECT, INSERT, UPDATE",
    "deletion_request_items": "SELECT, INSERT",
    "forgotten_supervision": "SELECT",
    "idempotency_keys": "SELECT, UPDATE, DELETE",
    "events": "SELECT, INSERT",
    "jobs": "SELECT, INSERT, UPDATE",
    "attempts": "SELECT, UPDATE",
    "outbox": "SELECT, INSERT, UPDATE, DELETE",
    "audit_log": "SELECT, INSERT",
    "audit_unsealed": "SELECT, DELETE",
    "audit_seals": "SELECT, INSERT",
    "audit_checkpoints": "SELECT, INSERT",
    "signing_keys": "SELECT, INSERT",
    "certificates": "SELECT, INSERT",
    "opendsr_requests": "SELECT, UPDATE",
    "opendsr_callbacks": "SELECT, UPDATE",
    "webhook_endpoints": "SELECT, UPDATE, DELETE",
    "webhook_deliveries": "SELECT, INSERT, UPDATE, DELETE",
    "state_transitions": "SELECT",
}

APPEND_ONLY = ("audit_log", "events", "audit_seals", "audit_checkpoints", "signing_keys", "certificates")
NEVER_TRUNCATED = ("audit_log", "audit_seals", "audit_checkpoints", "signing_keys", "certificates")


def statements() -> list[str]:
    """Every rule, in the order in which it must be made, after the tables."""
    made = [
        ROLES,
        ENFORCE_TRANSITION,
        NOTIFY_OUTBOX,
        NOTE_STATE_CHANGE,
        REFUSE_CHANGE,
        NOTE_UNSEALED,
        ONLY_OF_THE_LOG,
        TELL_ENDPOINTS,
        ONLY_OF_THE_EVENTS,
    ]
    for table, (column, machine) in MACHINES.items():
        made += [
            f"INSERT INTO state_transitions VALUES ('{table}', '{before}', '{after}')"
            for before, allowed in machine.items()
            for after in sorted(allowed)
        ]
        made.append(
            f"CREATE TRIGGER enforce_transition BEFORE UPDATE OF {column} ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION enforce_transition('{column}')"
        )
    made.append(
        "CREATE TRIGGER note_state_change BEFORE UPDATE OF state ON model_versions"
        " FOR EACH ROW EXECUTE FUNCTION note_state_change()"
    )
    made.append(
        "CREATE TRIGGER notify_outbox AFTER INSERT ON outbox"
        " FOR EACH STATEMENT EXECUTE FUNCTION notify_outbox()"
    )
    made += [
        f"CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON {table}"
        f" FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        for table in APPEND_ONLY
    ]
    made += [
        f"CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {table}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        for table in NEVER_TRUNCATED
    ]
    made.append(
        "CREATE TRIGGER note_unsealed AFTER INSERT ON audit_log"
        " REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION note_unsealed()"
    )
    made.append(
        "CREATE TRIGGER tell_endpoints AFTER INSERT ON events"
        " REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION tell_endpoints()"
    )
    made += ["GRANT USAGE ON SCHEMA public TO lethe_app, lethe_worker, lethe_relay"]
    for table, (app, worker) in GRANTS.items():
        made += [f"GRANT {app} ON {table} TO lethe_app"] if app else []
        made += [f"GRANT {worker} ON {table} TO lethe_worker"] if worker else []
    made += [f"GRANT {relay} ON {table} TO lethe_relay" for table, relay in RELAY_GRANTS.items()]
    made.append("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO lethe_app, lethe_worker, lethe_relay")
    return [*made, *row_security.statements()]


@event.listens_for(Base.metadata, "after_create")
def _make_rules(target: MetaData, connection: Connection, **_: object) -> None:
    for statement in statements():
        connection.execute(sql(statement.replace(":", r"\:")))
