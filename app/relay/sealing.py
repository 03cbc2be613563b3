"""The sealer: rows of the audit log are chained after they were committed, by one relay at a time.

Whoever writes a row waits for nobody: it is noted in `audit_unsealed` by the transaction that writes it, and
found there once that has committed, however late. A row's place in the chain is the order in which the
sealer found it, not the order of ids.
"""

import uuid
from dataclasses import dataclass, field

from sqlalchemy import insert, text
from sqlalchemy.orm import Session, sessionmaker

from app.audit.chain import ENTRY_COLUMNS, GENESIS, entry_of, link_hash
from app.core.database import transaction
from app.core.rows import AnyRow
from app.core.signing import AUDIT_CHECKPOINT, StatementSigner
from app.core.wire import rfc3339
from models import AuditCheckpoint

BATCH = 1000
BATCHES_AT_ONCE = 5  # then the relay has other things to do

# Held to the end of the transaction. Only sealers ask for it; the primary key of `audit_seals` would stop a
# second one all the same.
_ONLY_SEALER = text("SELECT pg_try_advisory_xact_lock(hashtext('lethe audit sealer'))")
# An entry has one place in one chain: what is sealed already is only taken off the notes.
_TAKE = text(f"""
WITH taken AS (
  DELETE FROM audit_unsealed
  WHERE entry_id IN (SELECT entry_id FROM audit_unsealed ORDER BY entry_id LIMIT :batch)
  RETURNING entry_id
)
SELECT {ENTRY_COLUMNS} FROM taken JOIN audit_log AS entry ON entry.id = taken.entry_id
WHERE NOT EXISTS (SELECT FROM audit_seals AS seal WHERE seal.entry_id = taken.entry_id)
ORDER BY entry.id
""")
# One statement per chain; the hashes come as one string of bytes, in the chain's order.
_PLACE = text("""
INSERT INTO audit_seals (tenant_id, position, entry_id, previous, hash)
SELECT :tenant_id, :after + place, entry_id, substr(:hashes, 32 * (place - 1)::int + 1, 32),
  substr(:hashes, 32 * place::int + 1, 32)
FROM unnest(CAST(:entry_ids AS bigint[])) WITH ORDINALITY AS link(entry_id, place)
""")
_HEAD = text(
    "SELECT position, hash FROM audit_seals WHERE tenant_id = :tenant_id ORDER BY position DESC LIMIT 1"
)
_UNSIGNED = text("""
SELECT tenant.id AS tenant_id, head.position, head.hash, now() AS at
FROM tenants AS tenant
JOIN LATERAL (
  SELECT position, hash FROM audit_seals WHERE tenant_id = tenant.id ORDER BY position DESC LIMIT 1
) AS head ON true
LEFT JOIN LATERAL (
  SELECT position FROM audit_checkpoints WHERE tenant_id = tenant.id ORDER BY position DESC LIMIT 1
) AS signed ON true
WHERE signed.position IS NULL OR signed.position < head.position
ORDER BY tenant.id
""")


@dataclass
class _Links:
    """What follows in a tenant's chain after the position `after`. `hashes` begins with the hash at that."""

    after: int
    hashes: list[bytes]
    entry_ids: list[int] = field(default_factory=list)

    def add(self, row: AnyRow) -> None:
        self.entry_ids.append(row.id)
        position = self.after + len(self.entry_ids)
        self.hashes.append(link_hash(entry_of(row), position, self.hashes[-1]))

    def placed(self, tenant_id: uuid.UUID) -> dict[str, object]:
        """The values of `_PLACE`."""
        return {
            "tenant_id": tenant_id,
            "after": self.after,
            "entry_ids": self.entry_ids,
            "hashes": b"".join(self.hashes),
        }


def seal_entries(sessions: sessionmaker[Session]) -> int:
    """Chain some of what is not chained yet; how many rows. One transaction per batch."""
    sealed = 0
    for _ in range(BATCHES_AT_ONCE):
        batch = _seal_batch(sessions)
        sealed += batch
        if batch < BATCH:
            break
    return sealed


def sign_checkpoints(sessions: sessionmaker[Session], signer: StatementSigner, service: str) -> int:
    """Sign the end of every chain that has grown since it was last signed; how many were."""
    with transaction(sessions) as session:
        if not session.scalar(_ONLY_SEALER):
            return 0
        grown = session.execute(_UNSIGNED).all()
        if grown:
            signer.introduce(session)
            session.execute(insert(AuditCheckpoint), [_checkpoint(row, signer, service) for row in grown])
    return len(grown)


def _seal_batch(sessions: sessionmaker[Session]) -> int:
    with transaction(sessions) as session:
        if not session.scalar(_ONLY_SEALER):
            return 0
        rows = session.execute(_TAKE, {"batch": BATCH}).all()
        chains: dict[uuid.UUID, _Links] = {}
        for row in rows:
            links = chains.get(row.tenant_id)
            if links is None:
                links = chains[row.tenant_id] = _end_of_chain(session, row.tenant_id)
            links.add(row)
        for tenant_id, links in chains.items():
            session.execute(_PLACE, links.placed(tenant_id))
    return len(rows)


def _end_of_chain(session: Session, tenant_id: uuid.UUID) -> _Links:
    found = session.execute(_HEAD, {"tenant_id": tenant_id}).one_or_none()
    return _Links(found.position, [bytes(found.hash)]) if found else _Links(0, [GENESIS])


def _checkpoint(row: AnyRow, signer: StatementSigner, service: str) -> dict[str, object]:
    predicate = {
        "tenant": str(row.tenant_id),
        "position": row.position,
        "signed_at": rfc3339(row.at),
        "service": service,
    }
    envelope = signer.sign(AUDIT_CHECKPOINT, {f"audit-log/{row.tenant_id}": bytes(row.hash).hex()}, predicate)
    return {
        "tenant_id": row.tenant_id,
        "position": row.position,
        "envelope": envelope,
        "key_id": signer.key_id,
    }
