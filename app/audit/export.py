"""The audit log as a file that `lethe verify-audit` checks without this service.

JSON Lines, every line in canonical JSON: a header, the entries in the order of their chain, and the newest
signed checkpoint. It ends with what that checkpoint covers: entries since then follow in the next export.
"""

import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy.orm import Session

from app.audit import repository
from app.audit.chain import entry_of
from app.core.canonical import canonical
from app.core.errors import NotFound
from app.core.rows import AnyRow
from app.core.sight import SeeingSessions

MEDIA_TYPE = "application/x-ndjson"
FORMAT = "lethe-audit-export"
VERSION = 1
BATCH = 1000


def no_checkpoint() -> NotFound:
    return NotFound(
        "No checkpoint of this audit log has been signed yet. The relay signs one within a minute or so of "
        "the first entry; if it does not, the operator finds the reason in its log.",
        code="audit_checkpoint_not_found",
    )


def sealed_entry(row: AnyRow) -> dict[str, Any]:
    return {
        "position": row.position,
        "previous": bytes(row.previous).hex(),
        "hash": bytes(row.hash).hex(),
        "entry": entry_of(row),
    }


def exported(session: Session, tenant_id: uuid.UUID) -> Iterator[bytes]:
    """The file, in pieces. Raises `NotFound` before the first."""
    checkpoint = session.execute(repository.newest_checkpoint(tenant_id)).one_or_none()
    if checkpoint is None:
        raise no_checkpoint()
    yield _header(tenant_id, checkpoint.position)
    for after in range(0, checkpoint.position, BATCH):
        yield _lines(session.execute(repository.sealed(tenant_id, after, BATCH, checkpoint.position)).all())
    yield _closing(checkpoint)


async def streamed(sessions: SeeingSessions, checkpoint: AnyRow) -> AsyncIterator[bytes]:
    """The same, up to a checkpoint. No connection is held while the client reads: rows never change."""
    tenant_id = sessions.sight.tenant_id
    yield _header(tenant_id, checkpoint.position)
    for after in range(0, checkpoint.position, BATCH):
        async with sessions() as session:
            rows = (
                await session.execute(repository.sealed(tenant_id, after, BATCH, checkpoint.position))
            ).all()
        yield _lines(rows)
    yield _closing(checkpoint)


def _header(tenant_id: uuid.UUID, entries: int) -> bytes:
    header = {"format": FORMAT, "version": VERSION, "tenant": str(tenant_id), "entries": entries}
    return canonical(header) + b"\n"


def _lines(rows: Sequence[AnyRow]) -> bytes:
    lines: Iterable[bytes] = (canonical(sealed_entry(row)) + b"\n" for row in rows)
    return b"".join(lines)


def _closing(checkpoint: AnyRow) -> bytes:
    return bytes(checkpoint.envelope.encode() + b"\n")
