"""The life of a version: its clock, legal holds, destroyed models, keys of encrypted artifacts; models that
descend from versions, and snapshots of a data set.

Models that are ready have been fanned out to: requests on their data set found them. Versions that are
superseded already begin their wait now.

Revision: 0005
"""

from pathlib import Path

from alembic import op
from sqlalchemy import text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MOVES = """
('registered_models', 'awaiting_checkpoint', 'destroyed'),
('registered_models', 'validating', 'destroyed'),
('registered_models', 'rejected', 'destroyed'),
('registered_models', 'ready', 'destroyed'),
('model_versions', 'pending', 'deleted'),
('model_versions', 'rejected', 'deleted'),
('model_versions', 'published', 'deleted'),
('model_versions', 'superseded', 'deleted')
"""
COLUMNS = (
    ("artifacts", "key_store"),
    ("registered_models", "derived_from_version_id"),
    ("registered_models", "fanned_out_at"),
    ("model_versions", "state_since"),
    ("datasets", "refreshes_id"),
)


def upgrade() -> None:
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n;\n"):
        op.execute(text(statement.replace(":", r"\:")))
    op.execute(f"INSERT INTO state_transitions (machine, before, after) VALUES {MOVES}")


def downgrade() -> None:
    """A destroyed model becomes a rejected one: it has no version that is served."""
    op.execute("DROP TRIGGER enforce_transition ON registered_models")
    op.execute(
        "UPDATE registered_models SET status = 'rejected', error_code = 'model_destroyed',"
        " error_detail = 'The model was destroyed.' WHERE status = 'destroyed'"
    )
    op.execute("ALTER TABLE registered_models DROP CONSTRAINT ck_registered_models_status")
    op.execute(
        "ALTER TABLE registered_models ADD CONSTRAINT ck_registered_models_status"
        " CHECK (status IN ('awaiting_checkpoint', 'validating', 'ready', 'rejected'))"
    )
    op.execute(
        "CREATE TRIGGER enforce_transition BEFORE UPDATE OF status ON registered_models"
        " FOR EACH ROW EXECUTE FUNCTION enforce_transition('status')"
    )
    op.execute(f"DELETE FROM state_transitions WHERE (machine, before, after) IN ({MOVES})")
    op.execute("DROP TRIGGER note_state_change ON model_versions")
    op.execute("DROP FUNCTION note_state_change()")
    op.execute("DROP INDEX uq_deletion_requests_one_child_per_model")
    op.execute("DROP INDEX ix_deletion_requests_on_datasets")
    op.execute("DROP TABLE legal_holds, former_datasets")
    for table, column in COLUMNS:
        op.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
