"""Evidence: the audit log's hash chain and its signed checkpoints, signing keys, certificates;
and deadlines of requests.

(Indexes on large tables, and what was audited before: in 0008.)

Revision: 0002
"""

from pathlib import Path

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = "audit_unsealed, audit_seals, audit_checkpoints, certificates, signing_keys"


def upgrade() -> None:
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n;\n"):
        op.execute(text(statement.replace(":", r"\:")))


def downgrade() -> None:
    op.execute("DROP TRIGGER note_unsealed ON audit_log")
    op.execute("DROP FUNCTION note_unsealed()")
    op.execute("DROP INDEX IF EXISTS ix_deletion_requests_uncertified")
    op.execute("DROP INDEX IF EXISTS ix_deletion_requests_sent_with_dates")
    for column in ("certified_version_id", "acknowledge_by", "acknowledged_at", "extension", "alarms"):
        op.execute(f"ALTER TABLE deletion_requests DROP COLUMN {column}")
    op.execute(f"DROP TABLE {TABLES}")
