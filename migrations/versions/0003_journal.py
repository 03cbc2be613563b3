"""When the storage's journal last got to know of a deletion request. (Its index: in 0008.)

Revision: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE deletion_requests ADD COLUMN journaled_at timestamp with time zone")


def downgrade() -> None:
    op.execute("DROP INDEX IF EXISTS ix_deletion_requests_unjournaled")
    op.execute("ALTER TABLE deletion_requests DROP COLUMN journaled_at")
