"""The journal of what else a restored database must not have lost: one object per row, over what was written
of the same row before, beside the journal of deletions.

holds      legal holds, and whether they have been lifted
models     the policy of each registered model, and whether it was destroyed
opendsr    requests that came in by OpenDSR, and whom to call back about them
"""

import json
from collections.abc import Iterator
from typing import Any, Literal

from app.core.journal import DamagedEntry
from app.core.storage import Storage

Kind = Literal["holds", "models", "opendsr"]
Row = dict[str, Any]  # as PostgreSQL's to_jsonb writes it


def write_row(storage: Storage, kind: Kind, row: Row) -> None:
    storage.put(f"journal/{kind}/{row['id']}", [json.dumps(row).encode()])


def read_rows(storage: Storage, kind: Kind, damaged: list[str]) -> Iterator[Row]:
    """All of them, in no order. The paths of those that cannot be read are added to `damaged`."""
    for path in storage.list(f"journal/{kind}"):
        try:
            yield _read(b"".join(storage.read(path)), path.rsplit("/", 1)[1])
        except DamagedEntry:
            damaged.append(path)


def _read(content: bytes, name: str) -> Row:
    try:
        row = json.loads(content)
    except ValueError as error:
        raise DamagedEntry("this is no entry of the journal") from error
    if not isinstance(row, dict) or row.get("id") != name or "tenant_id" not in row:
        raise DamagedEntry("this is no entry of the journal")
    return row
