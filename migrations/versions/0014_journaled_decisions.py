"""Legal holds, OpenDSR requests, and what is decided about a model enter the storage's journal, too.

Each step may run twice.

Revision: 0014
"""

from alembic import op

from migrations.online import create_index, outside_of_a_transaction

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

INDEX = "ix_opendsr_requests_unjournaled"
JOURNALED = ("registered_models", "legal_holds", "opendsr_requests")


def upgrade() -> None:
    op.execute(
        "ALTER TABLE registered_models"
        " ADD COLUMN IF NOT EXISTS decided_at timestamp with time zone NOT NULL DEFAULT now()"
    )
    for table in JOURNALED:
        op.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS journaled_at timestamp with time zone")
    op.execute("GRANT UPDATE ON legal_holds, opendsr_requests TO lethe_relay")
    with outside_of_a_transaction():
        create_index(INDEX, "opendsr_requests (id) WHERE journaled_at IS NULL AND stub_status IS NULL")


def downgrade() -> None:
    op.execute(f"DROP INDEX IF EXISTS {INDEX}")
    op.execute("REVOKE UPDATE ON legal_holds, opendsr_requests FROM lethe_relay")
    for table in JOURNALED:
        op.execute(f"ALTER TABLE {table} DROP COLUMN journaled_at")
    op.execute("ALTER TABLE registered_models DROP COLUMN decided_at")
