"""The first schema, and the roles lethe_app and lethe_worker.

Revision: 0001
"""

from pathlib import Path

from alembic import op
from sqlalchemy import text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
    aliases, api_keys, artifacts, attempts, audit_log, dataset_instances, datasets, deletion_request_items,
    deletion_requests, events, forgotten_supervision, idempotency_keys, instance_list_items, instance_lists,
    jobs, model_tasks, model_versions, outbox, registered_models, state_transitions, tenants
"""

# Roles belong to the server and stay while another of its databases still grants them something.
DROP_ROLES = """
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['lethe_app', 'lethe_worker'] LOOP
    BEGIN
      EXECUTE format('DROP ROLE IF EXISTS %I', name);
    EXCEPTION WHEN dependent_objects_still_exist THEN NULL;
    END;
  END LOOP;
END $$
"""


def upgrade() -> None:
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n;\n"):
        op.execute(text(statement.replace(":", r"\:")))
    # Readiness asks whether the schema is the one that the code needs.
    op.execute("GRANT SELECT ON alembic_version TO lethe_app")


def downgrade() -> None:
    op.execute(f"DROP TABLE {TABLES} CASCADE")
    op.execute("DROP FUNCTION enforce_transition(), notify_outbox(), refuse_change()")
    op.execute("REVOKE ALL ON alembic_version FROM lethe_app")
    op.execute("REVOKE ALL ON SCHEMA public FROM lethe_app, lethe_worker")
    op.execute(DROP_ROLES)
