"""Bringing everything under a new hash key: index, requests, ledger, lists, identities; tenant by tenant.

The ids themselves are not kept, so the hash under the new key is one over the hash under the old key. The
keys stay in this process: the database is given pairs of hashes. A tenant is one transaction. Requests that
come in meanwhile wait for it; what is accepted before or after names its instances under the key of that
moment.
"""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.core.audit import audit_entry
from app.core.hashing import advance_hashes, advance_identities
from app.core.settings import Settings

ACTOR = "operator"
BATCH = 50_000

# In the order in which a run that publishes takes them: requests, models; then data sets, as acceptance does.
_LOCKS = (
    "SELECT id FROM deletion_requests WHERE tenant_id = :tenant"
    " AND status NOT IN ('succeeded', 'failed', 'cancelled') ORDER BY id FOR NO KEY UPDATE",
    "SELECT id FROM registered_models WHERE tenant_id = :tenant ORDER BY id FOR NO KEY UPDATE",
    "SELECT id FROM datasets WHERE tenant_id = :tenant ORDER BY id FOR UPDATE",
)
# Table → its rows under the key :before.
_ROWS = {
    "dataset_instances": "dataset_id IN (SELECT id FROM datasets WHERE tenant_id = :tenant AND"
    " hash_key_id = :before)",
    "deletion_request_items": "deletion_request_id IN (SELECT id FROM deletion_requests WHERE"
    " tenant_id = :tenant AND hash_key_id = :before)",
    "forgotten_supervision": "tenant_id = :tenant AND hash_key_id = :before",
    "instance_list_items": "instance_list_id IN (SELECT id FROM instance_lists WHERE tenant_id = :tenant AND"
    " hash_key_id = :before)",
}
_ROWS["identity_instances"] = _ROWS["dataset_instances"]
_NAMED = ("datasets", "deletion_requests", "forgotten_supervision", "instance_lists")
_OLD_IDS = " UNION ".join(
    f"SELECT hash_key_id FROM {table} WHERE tenant_id = :tenant AND hash_key_id <> :after"  # noqa: S608
    for table in _NAMED
)


def rotate_hash_key(session: Session, tenant_id: uuid.UUID, settings: Settings) -> int:
    """How many hashes were brought under `settings.hash_key`; none when all were. Raises `UnknownHashKey`,
    when some are under a key that is not among the old ones of the settings."""
    after = settings.hash_key_id
    for lock in _LOCKS:
        session.execute(text(lock), {"tenant": tenant_id})
    old = list(session.scalars(text(_OLD_IDS), {"tenant": tenant_id, "after": after}))
    moved = sum(_advance(session, tenant_id, settings, before) for before in old)
    if old:
        session.execute(
            audit_entry(tenant_id, ACTOR, "hash_key.rotate", None, before=old, after=after, hashes=moved)
        )
    return moved


def _advance(session: Session, tenant_id: uuid.UUID, settings: Settings, before: str) -> int:
    bound = {"tenant": tenant_id, "before": before}
    moved = _move(
        session, "instance_hash", _ROWS, bound, lambda old: advance_hashes(old, tenant_id, settings, before)
    )
    identities = {"identity_instances": _ROWS["identity_instances"]}
    moved += _move(
        session, "identity_hash", identities, bound,
        lambda old: advance_identities(old, tenant_id, settings, before),
    )  # fmt: skip
    for table in _NAMED:
        session.execute(
            text(
                f"UPDATE {table} SET hash_key_id = :after"  # noqa: S608 (a constant of this file)
                " WHERE tenant_id = :tenant AND hash_key_id = :before"
            ),
            bound | {"after": settings.hash_key_id},
        )
    return moved


def _move(
    session: Session,
    column: str,
    tables: Mapping[str, str],
    bound: Mapping[str, Any],
    advance: Callable[[list[bytes]], list[bytes]],
) -> int:
    """How many hashes there were in the column, of whatever table."""
    session.execute(text("CREATE TEMPORARY TABLE moved_hashes (old bytea PRIMARY KEY, new bytea NOT NULL)"))
    every = " UNION ".join(
        f"SELECT DISTINCT {column} FROM {table} WHERE {rows}"  # noqa: S608 (constants of this file)
        for table, rows in tables.items()
    )
    old = [bytes(each) for each in session.scalars(text(every), bound)]
    insert = text(
        "INSERT INTO moved_hashes SELECT * FROM unnest(CAST(:old AS bytea[]), CAST(:new AS bytea[]))"
    )
    for start in range(0, len(old), BATCH):
        batch = old[start : start + BATCH]
        session.execute(insert, {"old": batch, "new": advance(batch)})
    for table, rows in tables.items():
        session.execute(
            text(
                f"UPDATE {table} SET {column} = moved_hashes.new FROM moved_hashes"  # noqa: S608
                f" WHERE moved_hashes.old = {table}.{column} AND {rows}"
            ),
            bound,
        )
    session.execute(text("DROP TABLE moved_hashes"))
    return len(old)
