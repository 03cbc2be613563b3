"""The sealed audit log of one tenant, in the order of its chain."""

import uuid

from sqlalchemy import TextClause, text

from app.audit.chain import ENTRY_COLUMNS

_SEALED = text(f"""
SELECT seal.position, seal.previous, seal.hash, {ENTRY_COLUMNS}
FROM audit_seals AS seal JOIN audit_log AS entry ON entry.id = seal.entry_id
WHERE seal.tenant_id = :tenant_id AND seal.position > :after AND seal.position <= :upto
ORDER BY seal.position LIMIT :limit
""")
_NEWEST_CHECKPOINT = text(
    "SELECT position, envelope FROM audit_checkpoints WHERE tenant_id = :tenant_id"
    " ORDER BY position DESC LIMIT 1"
)
_LAST_POSITION = (1 << 63) - 1


def sealed(tenant_id: uuid.UUID, after: int, limit: int, upto: int = _LAST_POSITION) -> TextClause:
    """The entries behind position `after`, up to and with `upto`."""
    return _SEALED.bindparams(tenant_id=tenant_id, after=after, limit=limit, upto=upto)


def newest_checkpoint(tenant_id: uuid.UUID) -> TextClause:
    return _NEWEST_CHECKPOINT.bindparams(tenant_id=tenant_id)
