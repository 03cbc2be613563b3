"""Answering which models learned from an instance, and what has become of that."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.audit import audit_entry
from app.core.errors import NotFound
from app.core.instances import NamedInstances, read_instances
from app.core.rows import AnyRow
from app.core.settings import Settings
from app.datasets import repository as datasets
from app.deletion_requests.targets import hash_key_changed
from app.lookups import repository
from app.lookups.schemas import DescendantMemory, InstanceMemory, Lookup, ModelMemory, NewLookup, TaskMemory
from app.registered_models.descendants import Named, that_remember


async def look_up(session: AsyncSession, caller: Caller, settings: Settings, sent: NewLookup) -> Lookup:
    """Raises `NotFound`, `InvalidInput` (duplicate_instances) and `Conflict` (hash_key_changed)."""
    dataset = await datasets.find(session, caller.tenant_id, sent.dataset)
    if dataset is None:
        raise NotFound("There is no such data set.", code="dataset_not_found")
    if not await repository.under_one_key(session, caller.tenant_id, dataset.id):
        raise hash_key_changed()
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
    names = instances.names or ()
    return Lookup(
        dataset=dataset.name,
        data=list(_by_instance(rows, names)),
        descendants=await _descendants(session, caller, rows, instances),
    )


async def _descendants(
    session: AsyncSession, caller: Caller, rows: Sequence[AnyRow], instances: NamedInstances
) -> list[DescendantMemory]:
    """Of every model that the data set knows the instances from. Instances that it does not know at all have
    never been learned, by whatever."""
    names = instances.names or ()
    known = {row.position for row in rows if row.known}
    models = {row.model_id: row.model for row in rows if row.model_id is not None}
    named = Named.by_instances(instances)
    found = []
    for model_id, model in models.items():
        for each in await that_remember(session, caller.tenant_id, model_id, model, named):
            which = [names[position] for position in sorted(each.positions & known)]
            if which:
                origin = f"{each.source}@{each.version}"
                found.append(DescendantMemory(model=each.model, derived_from=origin, instances=which))
    return list({(each.model, each.derived_from): each for each in found}.values())


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
