"""The relay removes endpoints of webhooks that were deleted, which its role was not granted.

Revision: 0012
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("GRANT DELETE ON webhook_endpoints TO lethe_relay")


def downgrade() -> None:
    op.execute("REVOKE DELETE ON webhook_endpoints FROM lethe_relay")
