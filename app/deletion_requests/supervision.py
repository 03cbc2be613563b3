"""Which supervision a request would take, counted in the database."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import InvalidInput
from app.core.instances import UNPACKED, NamedInstances
from app.core.snapshots import LEARNED_FROM
from app.deletion_requests.targets import Target

# What the ledger says is forgotten of one instance, as bits. A row without a version was forgotten once,
# and is remembered again. What was only unlearned still has to be retrained without, when that is asked for.
_FORGOTTEN = """LEFT JOIN LATERAL (
SELECT bit_or(task.bit) AS bits
FROM forgotten_supervision f
JOIN unnest(CAST(:tasks AS text[]), CAST(:bits AS bigint[])) AS task(name, bit) ON task.name = f.task
WHERE f.registered_model_id = :model_id AND f.instance_hash = named.instance_hash AND f.version_id IS NOT NULL
  AND CAST(:standing AS boolean)
) f ON true"""
_FORGOTTEN_TASK = """LEFT JOIN forgotten_supervision f{k} ON f{k}.registered_model_id = :model_id
  AND f{k}.task = (CAST(:tasks AS text[]))[{k} + 1] AND f{k}.instance_hash = named.instance_hash
  AND f{k}.version_id IS NOT NULL AND CAST(:standing AS boolean)"""
# What is gone from the data, a model that has moved to a newer snapshot has learned from one before.
_FORMER = """LEFT JOIN LATERAL (
SELECT i.supervised FROM former_datasets fd
JOIN dataset_instances i ON i.dataset_id = fd.dataset_id AND i.instance_hash = named.instance_hash
WHERE fd.registered_model_id = :model_id ORDER BY fd.left_at DESC LIMIT 1
) former ON d.instance_hash IS NULL"""
# Looked up one by one where few are named: behind row-level security the planner would rather read the whole
# data set, whose size it knows, than trust that few are named, which it does not. Many are joined, and each
# task's part of the ledger by itself: one by one they would take longer.
FEW = 2_000
_LOOKED_UP = """LEFT JOIN LATERAL (
SELECT supervised, instance_hash FROM dataset_instances
WHERE dataset_id = :dataset_id AND instance_hash = named.instance_hash LIMIT 1
) d ON true"""
_JOINED = """LEFT JOIN dataset_instances d
ON d.dataset_id = :dataset_id AND d.instance_hash = named.instance_hash"""


@lru_cache(maxsize=128)
def _count(tasks: int, few: bool, moved: bool) -> TextClause:
    """Counts over the named instances. Built per number of tasks, from nothing that a client sent."""
    per_task = "".join(
        f", count(*) FILTER (WHERE here AND supervised & :bit{k} & ~forgotten <> 0) AS fresh{k}"
        for k in range(tasks)
    )
    forgotten, joins = "coalesce(f.bits, 0)", [_LOOKED_UP, _FORGOTTEN]
    if not few:
        each = [f"CASE WHEN f{k}.task IS NULL THEN 0 ELSE :bit{k} END" for k in range(tasks)]
        forgotten, joins = " | ".join(each), [_JOINED]
        joins += [_FORGOTTEN_TASK.format(k=k) for k in range(tasks)]
    supervised = "d.supervised"
    if moved:
        supervised = "coalesce(d.supervised, former.supervised)"
        joins.append(_FORMER)
    return text(f"""
SELECT count(*) FILTER (WHERE supervised IS NULL) AS unknown,
  min(position) FILTER (WHERE supervised IS NULL) AS first_unknown,
  count(*) FILTER (WHERE supervised & :mask & ~forgotten = 0) AS settled,
  count(*) FILTER (WHERE NOT here AND supervised & :mask & ~forgotten <> 0) AS gone {per_task}
FROM (
  SELECT named.position, {supervised} AS supervised,
    d.instance_hash IS NOT NULL AS here, {forgotten} AS forgotten
  FROM ({UNPACKED}) AS named
  {" ".join(joins)}
) counted
""")


# Of those that a data set's request names: which of them a model learned from, on whatever snapshot. OFFSET 0
# has them looked up one by one, for the same reason.
_KNOWN_TO_MODEL = text(f"""
SELECT position FROM ({UNPACKED}) AS named
WHERE EXISTS (
  SELECT FROM ({LEARNED_FROM.format(model=":model_id")}) AS snapshot
  JOIN dataset_instances i ON i.dataset_id = snapshot.dataset_id AND i.instance_hash = named.instance_hash
  OFFSET 0
) ORDER BY position
""")
_KNOWN_TO_DATASET = text(f"""
SELECT position FROM ({UNPACKED}) AS named
WHERE EXISTS (
  SELECT FROM dataset_instances i
  WHERE i.dataset_id = :dataset_id AND i.instance_hash = named.instance_hash
  OFFSET 0
)
""")
# Is there any supervision for the task that neither the ledger, nor a request that waits, nor this
# request takes away?
_ANY_LEFT = text(f"""
WITH taken AS (
  SELECT instance_hash FROM ({UNPACKED}) AS named
  UNION
  SELECT i.instance_hash
  FROM deletion_request_items i JOIN deletion_requests r ON r.id = i.deletion_request_id
  WHERE r.registered_model_id = :model_id AND r.status NOT IN ('succeeded', 'failed', 'cancelled')
    AND :task = ANY(r.tasks)
  UNION
  SELECT instance_hash FROM forgotten_supervision WHERE registered_model_id = :model_id AND task = :task
)
SELECT EXISTS (
  SELECT FROM dataset_instances d
  WHERE d.dataset_id = :dataset_id AND d.supervised & :bit <> 0
    AND NOT EXISTS (SELECT FROM taken WHERE taken.instance_hash = d.instance_hash)
)
""")
_HOLD_MODEL = text("SELECT id FROM registered_models WHERE id = :model_id FOR NO KEY UPDATE")


@dataclass(frozen=True, slots=True)
class Counted:
    """`settled`: instances with nothing left to forget. `fresh`: per task, those with something. `gone`:
    those with something that are no longer in the data."""

    settled: int
    fresh: tuple[int, ...]
    gone: int


async def known_to_model(session: AsyncSession, model_id: uuid.UUID, instances: NamedInstances) -> list[int]:
    """Positions of those that any snapshot has which the model learned from."""
    bound = {"packed": instances.packed, "instance_count": instances.count, "model_id": model_id}
    return list((await session.execute(_KNOWN_TO_MODEL, bound)).scalars())


async def refuse_unknown(
    session: AsyncSession, dataset_id: uuid.UUID, instances: NamedInstances, known: Iterable[int]
) -> None:
    """`known`: positions of those that a model learned from. What is in the data set alone was never learned.

    Raises `InvalidInput`, code unknown_instance."""
    left = set(range(instances.count)).difference(known)
    if not left:
        return
    bound = {"packed": instances.packed, "instance_count": instances.count, "dataset_id": dataset_id}
    left.difference_update((await session.execute(_KNOWN_TO_DATASET, bound)).scalars())
    if left:
        raise _unknown(len(left), min(left), instances)


async def count(session: AsyncSession, target: Target, instances: NamedInstances) -> Counted:
    """Raises `InvalidInput`, code unknown_instance."""
    bound = {
        "packed": instances.packed,
        "instance_count": instances.count,
        "dataset_id": target.dataset_id,
        "model_id": target.model_id,
        "tasks": list(target.tasks),
        "bits": list(target.bits),
        "mask": sum(target.bits),
        "standing": target.counts_forgotten,
    }
    bound |= {f"bit{k}": bit for k, bit in enumerate(target.bits)}
    statement = _count(len(target.tasks), instances.count <= FEW, target.has_moved)
    row = (await session.execute(statement, bound)).one()
    if row.unknown:
        raise _unknown(row.unknown, row.first_unknown, instances)
    return Counted(row.settled, tuple(getattr(row, f"fresh{k}") for k in range(len(target.tasks))), row.gone)


async def refuse_to_erase_a_task(
    session: AsyncSession, target: Target, instances: NamedInstances, counted: Counted
) -> None:
    """A task without any supervision left cannot be retrained or measured.

    Cheap bounds first; the exact answer only when they come near. Raises `InvalidInput`, code
    would_erase_task.
    """
    for task, bit, remaining, fresh in zip(
        target.tasks, target.bits, target.remaining, counted.fresh, strict=True
    ):
        if fresh == 0 or target.pending + fresh < remaining:
            continue
        await session.execute(_HOLD_MODEL, {"model_id": target.model_id})
        bound = {
            "packed": instances.packed,
            "instance_count": instances.count,
            "dataset_id": target.dataset_id,
            "model_id": target.model_id,
            "task": task,
            "bit": bit,
        }
        if not (await session.execute(_ANY_LEFT, bound)).scalar_one():
            raise InvalidInput(
                f"With the requests that wait already, this would take all supervision that task {task!r} of "
                f"model {target.name} has left. Keep some instances, or register a model without that task "
                "and retire this one.",
                code="would_erase_task",
                task=task,
            )


def _unknown(how_many: int, position: int, instances: NamedInstances) -> InvalidInput:
    extra: dict[str, Any] = {"position": position}
    if instances.names is None:
        which = f"the one at position {position} of the list"
    else:
        which = repr(instances.names[position])
        extra["instance"] = instances.names[position]
    return InvalidInput(
        f"{how_many} of the instances are not in the data set that the model learned from, the first is "
        f"{which}.",
        code="unknown_instance",
        count=how_many,
        **extra,
    )
