"""Statements that name the parts of a request on a data set; an index for finding the snapshots of one data.

The check is validated, and indexes are made, without locking anybody out. Each step may run twice.

Revision: 0010
"""

from alembic import op

from migrations.online import create_index, outside_of_a_transaction

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_datasets_refreshes_id": "datasets (refreshes_id) WHERE refreshes_id IS NOT NULL",
    "ix_deletion_requests_unbundled": "deletion_requests (id) WHERE registered_model_id IS NULL"
    " AND bundled_at IS NULL",
}


def upgrade() -> None:
    op.execute("ALTER TABLE deletion_requests ADD COLUMN IF NOT EXISTS bundled_at timestamptz")
    op.execute("ALTER TABLE certificates ALTER COLUMN registered_model_id DROP NOT NULL")
    op.execute("ALTER TABLE certificates ALTER COLUMN version_id DROP NOT NULL")
    op.execute("ALTER TABLE certificates DROP CONSTRAINT IF EXISTS ck_certificates_kind")
    op.execute("ALTER TABLE certificates DROP CONSTRAINT IF EXISTS ck_certificates_of_a_version")
    op.execute(
        "ALTER TABLE certificates ADD CONSTRAINT ck_certificates_kind"
        " CHECK (kind IN ('unlearning', 'disposal', 'parts')) NOT VALID"
    )
    op.execute(
        "ALTER TABLE certificates ADD CONSTRAINT ck_certificates_of_a_version"
        " CHECK ((kind = 'parts') = (version_id IS NULL)"
        " AND (kind = 'parts') = (registered_model_id IS NULL)) NOT VALID"
    )
    with outside_of_a_transaction():
        op.execute("ALTER TABLE certificates VALIDATE CONSTRAINT ck_certificates_kind")
        op.execute("ALTER TABLE certificates VALIDATE CONSTRAINT ck_certificates_of_a_version")
        for name, definition in INDEXES.items():
            create_index(name, definition)


def downgrade() -> None:
    for name in INDEXES:
        op.execute(f"DROP INDEX IF EXISTS {name}")
    op.execute("ALTER TABLE deletion_requests DROP COLUMN bundled_at")
    op.execute("ALTER TABLE certificates DISABLE TRIGGER refuse_change")
    op.execute("DELETE FROM certificates WHERE kind = 'parts'")
    op.execute("ALTER TABLE certificates ENABLE TRIGGER refuse_change")
    op.execute("ALTER TABLE certificates DROP CONSTRAINT ck_certificates_of_a_version")
    op.execute("ALTER TABLE certificates DROP CONSTRAINT ck_certificates_kind")
    op.execute(
        "ALTER TABLE certificates ADD CONSTRAINT ck_certificates_kind"
        " CHECK (kind IN ('unlearning', 'disposal'))"
    )
    op.execute("ALTER TABLE certificates ALTER COLUMN version_id SET NOT NULL")
    op.execute("ALTER TABLE certificates ALTER COLUMN registered_model_id SET NOT NULL")
