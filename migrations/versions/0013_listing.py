"""Indexes that lists walk along, whatever they are asked for; and no longer those that are superfluous beside
a unique one or one of these.

Indexes are made and dropped without locking anybody out. Each step may run twice.

Revision: 0013
"""

from migrations.online import create_index, drop_index, outside_of_a_transaction

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_deletion_requests_listed": "deletion_requests (tenant_id, status, id)"
    " WHERE parent_id IS NULL AND status IS NOT NULL",
    "ix_deletion_requests_listed_by_model": "deletion_requests (registered_model_id, status, id)"
    " WHERE registered_model_id IS NOT NULL",
    "ix_deletion_requests_listed_by_reference": "deletion_requests (tenant_id, reference, status, id)"
    " WHERE status IS NOT NULL AND reference IS NOT NULL",
    "ix_deletion_requests_listed_on_data_sets": "deletion_requests (tenant_id, id) WHERE status IS NULL",
    "ix_deletion_requests_listed_on_data_sets_by_reference": "deletion_requests (tenant_id, reference, id)"
    " WHERE status IS NULL AND reference IS NOT NULL",
    "ix_deletion_requests_listed_by_children": "deletion_requests (tenant_id, status, parent_id)"
    " WHERE parent_id IS NOT NULL",
    "ix_jobs_listed": "jobs (tenant_id, status, id)",
    "ix_jobs_listed_by_model": "jobs (registered_model_id, status, id)",
}
SUPERFLUOUS = {
    "ix_deletion_requests_tenant_id_id": "deletion_requests (tenant_id, id)",
    "ix_deletion_requests_parent_id": "deletion_requests (parent_id) WHERE parent_id IS NOT NULL",
    "ix_jobs_tenant_id_id": "jobs (tenant_id, id)",
    "ix_jobs_registered_model_id": "jobs (registered_model_id)",
}


def upgrade() -> None:
    _replace(SUPERFLUOUS, INDEXES)


def downgrade() -> None:
    _replace(INDEXES, SUPERFLUOUS)


def _replace(old: dict[str, str], new: dict[str, str]) -> None:
    with outside_of_a_transaction():
        for name, definition in new.items():
            create_index(name, definition)
        for name in old:
            drop_index(name)
