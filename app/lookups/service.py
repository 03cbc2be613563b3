"""Answering which models learned from an instance, and what has become of that."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.audit import audit_entry
from app.core.errors import NotFound
from app.core.instances import read_instances
from app.core.rows import AnyRow
from app.core.settings import Settings
from app.datasets import repository as datasets
from app.lookups import repository
from app.lookups.schemas import InstanceMemory, Lookup, ModelMemory, NewLookup, TaskMemory


async def look_up(session: AsyncSession, caller: Caller, settings: Settings, sent: NewLookup) -> Lookup:
    """Raises `NotFound` and `InvalidInput` (duplicate_instances)."""
    dataset = await datasets.find(session, caller.tenant_id, sent.dataset)
    if dataset is None:
        raise NotFound("There is no such data set.", code="dataset_not_found")
    instances = await read_instances(sent.instances, caller.tenant_id, settings, dataset.hash_key_id)
    rows = await repository.memory(session, caller.tenant_id, dataset.id, instances)
    await session.execute(
        audit_entry(
            caller.tenant_id,
            caller.actor,
            "lookup",
            dataset.id,
            caller.request_id,
            instances=instances.count,
        )
    )
    return Lookup(dataset=dataset.name, data=list(_by_instance(rows, instances.names or ())))


def _by_instance(rows: Sequence[AnyRow], names: Sequence[str]) -> Iterable[InstanceMemory]:
    for position, of_instance in groupby(rows, key=attrgetter("position")):
        found = list(of_instance)
        models = [
            ModelMemory(model=model, head_version=head, tasks=[_task(row) for row in of_model if row.task])
            for (model, head), of_model in groupby(found, key=attrgetter("model", "head_version"))
            if model is not None
        ]
        yield InstanceMemory(instance=names[position], known=found[0].known, models=models)


def _task(row: AnyRow) -> TaskMemory:
    if row.version is not None:
        return TaskMemory(
            task=row.task, state="forgotten", request=row.request, version=row.version, at=row.at
        )
    if row.waiting is not None:
        return TaskMemory(task=row.task, state="pending", request=row.waiting)
    return TaskMemory(task=row.task, state="learned")
