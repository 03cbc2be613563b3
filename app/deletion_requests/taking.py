"""What requests take of each task's supervision, counted in the database: one statement for all tasks, and
for both times since when it is counted."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from app.core.instances import UNPACKED, NamedInstances

COUNTED = "r.status NOT IN ('awaiting_approval', 'failed', 'cancelled')"
"""Of a request `r`: it takes something, or has."""

_BITS = """(
  SELECT coalesce(bit_or(task.bit), 0)
  FROM unnest(CAST(:tasks AS text[]), CAST(:bits AS bigint[])) AS task(name, bit)
  WHERE task.name = ANY(r.tasks)
)"""
_SENT = f"SELECT instance_hash, CAST(:mask AS bigint) AS bits FROM ({UNPACKED}) AS sent"  # noqa: S608
_RECORDED = f"""
SELECT i.instance_hash, {_BITS} AS bits
FROM deletion_requests r JOIN deletion_request_items i ON i.deletion_request_id = r.id
WHERE r.id = ANY(CAST(:ids AS uuid[]))
"""  # noqa: S608 (constants of ours)
# Tasks are bits. `asked`: since the count began, or now; `earlier`: promised before it began, and under way
# still, so neither taken nor left. `ever` and `gone`: what the ledger has, and has since the count began.
_SINCE = ("word", "in_window")


@lru_cache(maxsize=64)
def _statement(tasks: int, recorded: bool) -> TextClause:
    """Built per number of tasks, from nothing that a client sent."""
    asked = "".join(
        f", CASE WHEN r.created_at > :{since} THEN r.bits ELSE 0 END AS asked_{since},"
        f" CASE WHEN r.created_at <= :{since} AND r.status <> 'succeeded' THEN r.bits ELSE 0 END"
        f" AS earlier_{since}"
        for since in _SINCE
    )
    summed = "".join(
        f", bit_or(asked_{since}) AS asked_{since}, bit_or(earlier_{since}) AS earlier_{since}"
        for since in _SINCE
    )
    gone = "".join(
        f", coalesce(bit_or(task.bit) FILTER (WHERE by.created_at > :{since}), 0) AS gone_{since}"
        for since in _SINCE
    )
    judged = ", ".join(
        f"asked_{since} & ~earlier_{since} & there.bits & (~ever | gone_{since}) AS taken_{since},"
        f" asked_{since} & ~earlier_{since} & there.bits & gone_{since} AS settled_{since},"
        f" earlier_{since} & there.bits & ~ever AS promised_{since}"
        for since in _SINCE
    )
    counts = ", ".join(
        f"count(*) FILTER (WHERE {what}_{since} & CAST(:bit{k} AS bigint) <> 0) AS {what}_{since}_{k}"
        for k in range(tasks)
        for since in _SINCE
        for what in ("taken", "settled", "promised")
    )
    return text(f"""
WITH named AS (
  SELECT instance_hash, bits AS asked_word, 0 AS earlier_word,
    bits AS asked_in_window, 0 AS earlier_in_window
  FROM ({_RECORDED if recorded else _SENT}) AS now
  UNION ALL
  SELECT i.instance_hash {asked}
  FROM (
    SELECT r.id, r.created_at, r.status, {_BITS} AS bits FROM deletion_requests r
    WHERE r.registered_model_id = :model_id AND {COUNTED}
      AND (r.created_at > :word OR r.status <> 'succeeded')
  ) AS r JOIN deletion_request_items i ON i.deletion_request_id = r.id
  WHERE r.bits <> 0
), instance AS (
  SELECT instance_hash {summed} FROM named GROUP BY instance_hash
), judged AS (
  SELECT {judged} FROM instance
  JOIN LATERAL (
    SELECT bit_or(d.supervised) AS bits FROM dataset_instances d
    WHERE d.instance_hash = instance.instance_hash AND d.dataset_id = ANY (ARRAY(
      SELECT CAST(:dataset_id AS uuid)
      UNION ALL SELECT dataset_id FROM former_datasets WHERE registered_model_id = :model_id
    ))
  ) AS there ON true
  JOIN LATERAL (
    SELECT coalesce(bit_or(task.bit), 0) AS ever {gone}
    FROM forgotten_supervision ledger
    JOIN unnest(CAST(:tasks AS text[]), CAST(:bits AS bigint[])) AS task(name, bit)
      ON task.name = ledger.task
    LEFT JOIN deletion_requests by ON by.id = ledger.deletion_request_id
    WHERE ledger.registered_model_id = :model_id AND ledger.instance_hash = instance.instance_hash
      AND ledger.version_id IS NOT NULL
  ) AS forgotten ON true
)
SELECT {counts} FROM judged
""")  # noqa: S608 (constants of ours)


@dataclass(frozen=True, slots=True)
class Taken:
    """Labels of one task since a count began. `settled`: those of `taken` that a version has forgotten
    already. `promised`: those that were asked for before and are not forgotten yet."""

    taken: int
    settled: int
    promised: int


def taken(
    session: Session,
    *,
    model_id: uuid.UUID,
    dataset_id: uuid.UUID,
    tasks: Sequence[str],
    bits: Sequence[int],
    named: NamedInstances | Sequence[uuid.UUID],
    since: tuple[datetime, datetime],
) -> list[tuple[Taken, Taken]]:
    """Per task, and since both times (the earlier comes first), what is named counted in: instances as they
    were sent, for all of the tasks, or those of recorded requests, for the tasks of each."""
    bound: dict[str, Any] = {"model_id": model_id, "dataset_id": dataset_id}
    bound |= {"tasks": list(tasks), "bits": list(bits), "word": since[0], "in_window": since[1]}
    bound |= {f"bit{k}": bit for k, bit in enumerate(bits)}
    recorded = not isinstance(named, NamedInstances)
    if isinstance(named, NamedInstances):
        bound |= {"packed": named.packed, "instance_count": named.count, "mask": sum(bits)}
    else:
        bound["ids"] = list(named)
    row = session.execute(_statement(len(tasks), recorded), bound).one()._mapping

    def of(task: int, when: str) -> Taken:
        return Taken(*(row[f"{what}_{when}_{task}"] for what in ("taken", "settled", "promised")))

    return [(of(task, "word"), of(task, "in_window")) for task in range(len(tasks))]
