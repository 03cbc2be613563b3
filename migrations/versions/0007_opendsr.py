"""Requests that come in by OpenDSR, their callbacks, and the instances that identities stand for.

Revision: 0007
"""

from pathlib import Path

from alembic import op
from sqlalchemy import text

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n;\n"):
        op.execute(text(statement.replace(":", r"\:")))


def downgrade() -> None:
    op.execute("DROP TABLE identity_instances, opendsr_callbacks, opendsr_requests")
