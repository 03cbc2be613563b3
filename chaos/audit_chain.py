"""The audit log's chain, followed as docs/evidence.md describes it, with the program that clients check with.

Every row is in its tenant's chain once, every link covers the row and the link before it, and the end of
each chain is signed.
"""

import hashlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.signer import SSlibKey

from app.audit.chain import ENTRY_COLUMNS, entry_of
from lethe.canonical import canonical
from lethe.envelope import Statement, open_envelope
from lethe.findings import NotVerified

Query = Callable[..., list[Any]]

GENESIS = "0" * 64
_LINKS = f"""
SELECT seal.tenant_id AS chain, seal.position, seal.previous, seal.hash, {ENTRY_COLUMNS}
FROM audit_seals AS seal JOIN audit_log AS entry ON entry.id = seal.entry_id
ORDER BY seal.tenant_id, seal.position
"""
_UNCHAINED = """
SELECT count(*) AS n FROM audit_log AS entry
WHERE NOT EXISTS (SELECT FROM audit_seals AS seal WHERE seal.entry_id = entry.id)
"""


def broken_chains(rows: Query) -> Iterator[str]:
    """A sentence for each link, row or signature with which something is wrong."""
    [unchained] = rows(_UNCHAINED)
    if unchained.n:
        yield f"{unchained.n} rows of the audit log are in no chain"
    ends: dict[uuid.UUID, list[str]] = {}
    for row in rows(_LINKS):
        hashes = ends.setdefault(row.chain, [])
        yield from _broken_link(row, len(hashes) + 1, hashes[-1] if hashes else GENESIS)
        hashes.append(row.hash.hex())
    yield from _broken_signatures(rows, ends)


def _broken_link(row: Any, position: int, previous: str) -> Iterator[str]:
    place = f"position {row.position} of the audit log of {row.chain}"
    if row.position != position:
        yield f"before {place} a link is missing"
    if row.tenant_id != row.chain:
        yield f"at {place} is a row of another tenant"
    if row.previous.hex() != previous:
        yield f"{place} does not follow the link before it"
    covered = {"entry": entry_of(row), "position": row.position, "previous": row.previous.hex()}
    if hashlib.sha256(canonical(covered)).hexdigest() != row.hash.hex():
        yield f"the row at {place} is not the one that was sealed"


def _broken_signatures(rows: Query, ends: dict[uuid.UUID, list[str]]) -> Iterator[str]:
    keys = [
        SSlibKey.from_crypto(load_pem_public_key(row.public_key.encode()), row.key_id)
        for row in rows("SELECT key_id, public_key FROM signing_keys WHERE algorithm = 'ed25519'")
    ]
    signed = dict.fromkeys(ends, 0)
    for row in rows("SELECT tenant_id, position, envelope FROM audit_checkpoints ORDER BY position"):
        what = f"The checkpoint at position {row.position} of the audit log of {row.tenant_id}"
        try:
            statement = open_envelope(row.envelope.encode(), keys, what)
        except NotVerified as refused:
            yield str(refused)
            continue
        if not _covers(statement, row, ends.get(row.tenant_id, [])):
            yield f"{what} was signed under another chain"
        signed[row.tenant_id] = row.position
    for tenant, position in signed.items():
        if position != len(ends.get(tenant, [])):
            yield f"the audit log of {tenant} is signed up to position {position} of {len(ends[tenant])}"


def _covers(statement: Statement, row: Any, hashes: list[str]) -> bool:
    if statement.predicate.get("position") != row.position or row.position > len(hashes):
        return False
    return statement.subjects == {f"audit-log/{row.tenant_id}": hashes[row.position - 1]}
