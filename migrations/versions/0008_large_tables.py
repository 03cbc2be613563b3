"""What takes long on large tables, in steps that lock out neither readers nor writers: indexes, and the notes
that have what was audited before 0002 sealed.

Each step may run twice, and none is undone: the tables' own migrations remove them with what they are on.

Revision: 0008
"""

from alembic import op

from migrations.online import create_index, outside_of_a_transaction

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_deletion_requests_sent_with_dates": "deletion_requests (due_at) WHERE parent_id IS NULL"
    " AND due_at IS NOT NULL AND (status IS NULL OR status NOT IN ('succeeded', 'failed', 'cancelled'))",
    "ix_deletion_requests_uncertified": "deletion_requests (finished_at) WHERE status = 'succeeded'"
    " AND certified_version_id IS DISTINCT FROM result_version_id",
    "ix_deletion_requests_unjournaled": "deletion_requests (id) WHERE status IS NOT NULL"
    " AND journaled_at IS NULL",
}
NOTE_WHAT_IS_UNSEALED = """
INSERT INTO audit_unsealed (entry_id) SELECT id FROM audit_log AS entry
WHERE NOT EXISTS (SELECT FROM audit_seals AS seal WHERE seal.entry_id = entry.id)
ON CONFLICT DO NOTHING
"""


def upgrade() -> None:
    with outside_of_a_transaction():
        for name, definition in INDEXES.items():
            create_index(name, definition)
        op.execute(NOTE_WHAT_IS_UNSEALED)


def downgrade() -> None:
    pass
