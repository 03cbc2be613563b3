"""What a request is about: one registered model, or every ready one that learned from a data set, of whatever
snapshot."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import Conflict, Gone, InvalidInput, NotFound
from app.core.naming import as_id, is_name
from app.core.rows import AnyRow
from app.core.settings import Settings
from app.core.snapshots import FAMILY
from app.deletion_requests.allowance import Allowance, allowance_of
from app.deletion_requests.schemas import Guarantee, Scope
from app.deletion_requests.shares import Subject
from models.states import ModelStatus

# `pending`: instances named by requests that are not settled yet, counted more than once if named more
# than once: a bound that is cheap to have.
_TARGETS = """
SELECT m.id, m.name, m.status, m.head_version_id, m.policy, d.id AS dataset_id, d.name AS dataset,
  d.targets, d.hash_key_id, d.instance_count,
  EXISTS (SELECT FROM former_datasets former WHERE former.registered_model_id = m.id) AS moved,
  (SELECT number FROM model_versions v WHERE v.id = m.head_version_id) AS head_number,
  (SELECT empirical_steps FROM model_versions v WHERE v.id = m.head_version_id) AS head_steps,
  (SELECT jsonb_agg(jsonb_build_object('name', t.name, 'remaining', t.remaining) ORDER BY t.position)
   FROM model_tasks t WHERE t.registered_model_id = m.id) AS tasks,
  (SELECT coalesce(sum(r.instance_count), 0) FROM deletion_requests r WHERE r.registered_model_id = m.id
     AND r.status NOT IN ('succeeded', 'failed', 'cancelled')) AS pending
FROM registered_models m JOIN datasets d ON d.id = m.dataset_id
WHERE m.tenant_id = :tenant_id
"""
_BY_MODEL_NAME = text(_TARGETS + " AND m.name = :name")
_BY_MODEL_ID = text(_TARGETS + " AND m.id = :id")
# Those on other snapshots of the same data, too.
_BY_DATASET = text(
    f"WITH RECURSIVE {FAMILY} {_TARGETS} AND m.status = 'ready' AND m.dataset_id IN (SELECT id FROM family)"
    " ORDER BY m.id"
)
_DATASET = text(
    "SELECT id, name, hash_key_id FROM datasets"
    " WHERE tenant_id = :tenant_id AND (name = :name OR id = CAST(:id AS uuid))"
)


@dataclass(frozen=True, slots=True)
class Target:
    """One model, and the tasks of it that are to be forgotten."""

    model_id: uuid.UUID
    name: str
    head_version_id: uuid.UUID
    head_number: int
    method: str
    guarantee: Guarantee
    head_is_trained: bool  # nothing was unlearned since
    visits: int
    dataset_id: uuid.UUID
    dataset: str
    tasks: tuple[str, ...]
    scope: Scope
    bits: tuple[int, ...]  # of each task, in dataset_instances.supervised
    remaining: tuple[int, ...]  # per task, as model_tasks has it
    pending: int
    gone: tuple[int, ...] | None  # per task, at most so many labels were forgotten; None: not to be told
    allowance: Allowance
    hash_key_id: str  # of the data set's index
    asked_id: uuid.UUID  # the data set that was asked about: the model may be on another snapshot
    asked: str  # its name

    @property
    def has_moved(self) -> bool:
        """The model has learned from snapshots before the present one."""
        return self.gone is None

    @property
    def counts_forgotten(self) -> bool:
        """What was only unlearned is to be retrained without, when that is asked for: it counts as not yet
        forgotten."""
        return self.guarantee == "empirical" or self.head_is_trained

    @property
    def subject(self) -> Subject:
        return Subject(self.model_id, self.dataset_id, self.tasks, self.bits, self.remaining, self.allowance)


async def of_model(
    session: AsyncSession,
    tenant_id: uuid.UUID,
    name_or_id: str,
    tasks: Sequence[str] | str,
    method: str | None,
    guarantee: Guarantee,
    settings: Settings,
) -> Target:
    """Raises `NotFound`, `Conflict` (model_not_ready) and `InvalidInput` (unknown_task)."""
    model_id = as_id(name_or_id)
    row = None
    if model_id is not None:
        row = (await session.execute(_BY_MODEL_ID, {"tenant_id": tenant_id, "id": model_id})).one_or_none()
    elif is_name(name_or_id):
        bound = {"tenant_id": tenant_id, "name": name_or_id}
        row = (await session.execute(_BY_MODEL_NAME, bound)).one_or_none()
    if row is None:
        raise NotFound("There is no such model.", code="model_not_found")
    if row.status == ModelStatus.DESTROYED:
        raise Gone("The model was destroyed: nothing of it is left to forget.", code="model_destroyed")
    if row.status != ModelStatus.READY:
        raise Conflict(
            f"The model is {row.status}; there is nothing to unlearn before it is ready.",
            code="model_not_ready",
        )
    known = [task["name"] for task in row.tasks]
    if not isinstance(tasks, str):
        _refuse_unknown(tasks, known, "The model")
    return _target(row, known if isinstance(tasks, str) else tasks, method, guarantee, settings)


async def of_dataset(
    session: AsyncSession,
    tenant_id: uuid.UUID,
    name_or_id: str,
    tasks: Sequence[str] | str,
    method: str | None,
    guarantee: Guarantee,
    settings: Settings,
) -> list[Target]:
    """One target per ready model that has any of the tasks, in the order of their ids.

    Raises `NotFound`, `Conflict` (no_model_ready, hash_key_changed) and `InvalidInput` (unknown_task).
    """
    dataset_id = as_id(name_or_id)
    found = None
    if dataset_id is not None or is_name(name_or_id):
        bound = {"tenant_id": tenant_id, "name": name_or_id, "id": dataset_id}
        found = (await session.execute(_DATASET, bound)).one_or_none()
    if found is None:
        raise NotFound("There is no such data set.", code="dataset_not_found")
    rows = (await session.execute(_BY_DATASET, {"tenant_id": tenant_id, "dataset_id": found.id})).all()
    if not rows:
        raise Conflict("No ready model has learned from this data set.", code="no_model_ready")
    if any(row.hash_key_id != found.hash_key_id for row in rows):
        raise hash_key_changed()
    known = {row.id: [task["name"] for task in row.tasks] for row in rows}
    if not isinstance(tasks, str):
        every = sorted({name for names in known.values() for name in names})
        _refuse_unknown(tasks, every, "No model of this data set")
    targets = []
    for row in rows:
        named = known[row.id] if isinstance(tasks, str) else [name for name in tasks if name in known[row.id]]
        if named:
            target = _target(row, named, method, guarantee, settings)
            targets.append(replace(target, asked_id=found.id, asked=found.name))
    return targets


def hash_key_changed() -> Conflict:
    return Conflict(
        "The instances are being brought under another hash key, or are under one that this process does not "
        "know (LETHE_OLD_HASH_KEYS). Try again in a minute; if that does not help, tell the operator.",
        code="hash_key_changed",
        headers={"Retry-After": "60"},
    )


def _target(
    row: AnyRow, tasks: Sequence[str], method: str | None, guarantee: Guarantee, settings: Settings
) -> Target:
    known_keys = {settings.hash_key_id, *(old.id for old in settings.old_hash_keys)}
    if row.hash_key_id not in known_keys:
        raise hash_key_changed()
    position = {target["name"]: index for index, target in enumerate(row.targets)}
    supervised = {target["name"]: target.get("supervised", row.instance_count) for target in row.targets}
    remaining = {task["name"]: task["remaining"] or 0 for task in row.tasks}
    return Target(
        model_id=row.id,
        name=row.name,
        head_version_id=row.head_version_id,
        head_number=row.head_number,
        method=method or row.policy["method"],
        guarantee=guarantee,
        head_is_trained=row.head_steps == 0,
        visits=row.policy["visits"],
        dataset_id=row.dataset_id,
        dataset=row.dataset,
        tasks=tuple(tasks),
        scope="full" if len(tasks) == len(row.tasks) else "partial",
        bits=tuple(1 << position[name] for name in tasks),
        remaining=tuple(remaining[name] for name in tasks),
        pending=int(row.pending),
        gone=None if row.moved else tuple(supervised[name] - remaining[name] for name in tasks),
        allowance=allowance_of(row.policy, settings),
        hash_key_id=row.hash_key_id,
        asked_id=row.dataset_id,
        asked=row.dataset,
    )


def _refuse_unknown(named: Sequence[str], known: Sequence[str], who: str) -> None:
    unknown = [name for name in named if name not in known]
    if unknown:
        verb = "has no task" if who == "The model" else "has a task"
        raise InvalidInput(
            f"{who} {verb} {unknown[0]!r}; known tasks are {', '.join(known)}.",
            code="unknown_task",
            known_tasks=list(known),
        )
