"""Legal holds, what was decided about models, and OpenDSR requests enter the journal in the storage, soon
after they were made; and again when a hold is lifted, a policy changed, or a model destroyed."""

import json
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.database import transaction
from app.core.journaled_rows import Kind, Row, write_row
from app.core.storage import Storage
from models.opendsr import UNJOURNALED

BATCH = 100


@dataclass(frozen=True)
class _Journaled:
    """table: whose rows they are. due: which are to be written. content: of a row AS r, as JSON."""

    table: str
    due: str
    content: str


_JOURNALED: dict[Kind, _Journaled] = {
    "holds": _Journaled("legal_holds", "journaled_at IS NULL", "(to_jsonb(r) - 'journaled_at')"),
    "models": _Journaled(
        "registered_models",
        "journaled_at IS NULL",
        "jsonb_build_object('id', r.id, 'tenant_id', r.tenant_id, 'policy', r.policy, 'decided_at',"
        " r.decided_at, 'destroyed', CASE r.status WHEN 'destroyed' THEN r.error_detail END)",
    ),
    "opendsr": _Journaled(
        "opendsr_requests",
        UNJOURNALED,
        "((to_jsonb(r) - 'journaled_at') || jsonb_build_object('callbacks',"
        " ARRAY(SELECT url FROM opendsr_callbacks c WHERE c.opendsr_request_id = r.id ORDER BY c.id)))",
    ),
}


def journal_rows(sessions: sessionmaker[Session], storage: Storage) -> int:
    """How many were written; some of each kind at each call. Raises what the storage raises."""
    return sum(_journal(sessions, storage, kind) for kind in _JOURNALED)


def _journal(sessions: sessionmaker[Session], storage: Storage, kind: Kind) -> int:
    """Bytes first, mark after: a crash in between writes them once more. What has changed since it was read
    is not marked, and written again."""
    of = _JOURNALED[kind]
    find = text(
        f"SELECT CAST({of.content} AS text) FROM {of.table} AS r"  # noqa: S608 (constants of ours)
        f" WHERE {of.due} ORDER BY id LIMIT :batch"
    )
    mark = text(
        f"UPDATE {of.table} AS r SET journaled_at = now()"  # noqa: S608
        f" WHERE id = CAST(:id AS uuid) AND {of.content} = CAST(:written AS jsonb)"
    )
    with transaction(sessions) as session:
        rows = list(session.scalars(find, {"batch": BATCH}))
    for written in rows:
        row: Row = json.loads(written)
        write_row(storage, kind, row)
        with transaction(sessions) as session:
            session.execute(mark, {"id": row["id"], "written": written})
    return len(rows)
