"""Requests that wait for a person's word, and how much may go without one.

The new checks are made without looking at the rows there are, which cannot break them; that is done
afterwards, under a lock that lets everybody work. The indexes are made likewise.

Revision: 0009
"""

from alembic import op

from migrations.online import create_index, outside_of_a_transaction

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STATUSES = "'queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled', 'needs_review'"
MOVES = """
('deletion_requests', 'awaiting_approval', 'queued'),
('deletion_requests', 'awaiting_approval', 'cancelled'),
('deletion_requests', 'awaiting_approval', 'failed'),
('deletion_requests', 'failed', 'awaiting_approval')
"""
CHECKS = {
    "ck_deletion_requests_status": f"status IN ('awaiting_approval', {STATUSES})",
    "ck_deletion_requests_waits_without_a_job": "status <> 'awaiting_approval'"
    " OR (job_id IS NULL AND approval IS NOT NULL)",
    "ck_deletion_requests_has_the_word_it_needs": "approval IS NULL OR approved_at IS NOT NULL"
    " OR status IN ('awaiting_approval', 'failed', 'cancelled')",
}
INDEXES = {
    "ix_deletion_requests_of_models": "deletion_requests (registered_model_id, created_at)",
    "ix_deletion_requests_approved": "deletion_requests (registered_model_id, approved_at)"
    " WHERE approved_at IS NOT NULL",
}


def upgrade() -> None:
    op.execute("ALTER TABLE tenants ADD COLUMN instances_per_day integer")
    op.execute("ALTER TABLE deletion_requests ADD COLUMN approval jsonb, ADD COLUMN approved_at timestamptz")
    op.execute("ALTER TABLE deletion_requests DROP CONSTRAINT ck_deletion_requests_status")
    for name, condition in CHECKS.items():
        op.execute(f"ALTER TABLE deletion_requests ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID")
    op.execute(f"INSERT INTO state_transitions (machine, before, after) VALUES {MOVES}")
    with outside_of_a_transaction():
        for name in CHECKS:
            op.execute(f"ALTER TABLE deletion_requests VALIDATE CONSTRAINT {name}")
        for name, definition in INDEXES.items():
            create_index(name, definition)


def downgrade() -> None:
    """What waits for a person's word has failed: an older version would carry it out."""
    op.execute("""
        UPDATE deletion_requests SET status = 'failed', error_code = 'request_rejected', finished_at = now(),
          error_detail = 'It waited for a person to approve it, which this version of the service cannot do.'
        WHERE status = 'awaiting_approval'
    """)
    for name in INDEXES:
        op.execute(f"DROP INDEX {name}")
    for name in CHECKS:
        op.execute(f"ALTER TABLE deletion_requests DROP CONSTRAINT {name}")
    op.execute(
        "ALTER TABLE deletion_requests ADD CONSTRAINT ck_deletion_requests_status"
        f" CHECK (status IN ({STATUSES}))"
    )
    op.execute("ALTER TABLE deletion_requests DROP COLUMN approval, DROP COLUMN approved_at")
    op.execute(f"DELETE FROM state_transitions WHERE (machine, before, after) IN ({MOVES})")
    op.execute("ALTER TABLE tenants DROP COLUMN instances_per_day")
