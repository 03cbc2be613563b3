"""Receivers of webhooks, and a trigger that notes what each is to be told of in the transaction of the event.

Revision: 0006
"""

from pathlib import Path

from alembic import op
from sqlalchemy import text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n;\n"):
        op.execute(text(statement.replace(":", r"\:")))


def downgrade() -> None:
    op.execute("DROP TRIGGER tell_endpoints ON events")
    op.execute("DROP FUNCTION tell_endpoints()")
    op.execute("DROP TABLE webhook_deliveries, webhook_endpoints")
