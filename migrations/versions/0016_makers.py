"""Of each API key, the key that made it. Nobody knows who made those that are there, nor those that processes
from before it go on making until they are replaced.

Revision: 0016
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE api_keys ADD COLUMN made_by_id UUID,"
        " ADD CONSTRAINT fk_api_keys_tenant_id_made_by_id FOREIGN KEY (tenant_id, made_by_id)"
        " REFERENCES api_keys (tenant_id, id)"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE api_keys DROP COLUMN made_by_id")
