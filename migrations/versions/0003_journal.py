"""When the storage's journal last got to know of a deletion request.

Revision: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEX = """
CREATE INDEX ix_deletion_requests_unjournaled ON deletion_requests (id)
WHERE status IS NOT NULL AND journaled_at IS NULL
"""


def upgrade() -> None:
    op.execute("ALTER TABLE deletion_requests ADD COLUMN journaled_at timestamp with time zone")
    op.execute(INDEX)


def downgrade() -> None:
    op.execute("DROP INDEX ix_deletion_requests_unjournaled")
    op.execute("ALTER TABLE deletion_requests DROP COLUMN journaled_at")
