"""Accepting a deletion request: everything is checked first, then it is recorded and queued at once."""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.errors import InvalidInput, NotFound
from app.core.hashing import UnknownHashKey
from app.core.instances import NamedInstances, read_instances
from app.core.settings import Settings
from app.deletion_requests import supervision, targets
from app.deletion_requests.deadlines import deadlines
from app.deletion_requests.recording import NewRow, record
from app.deletion_requests.schemas import (
    DeletionRequestView,
    Estimate,
    ModelEstimate,
    NewDeletionRequest,
    Status,
    Transition,
)
from app.deletion_requests.supervision import Counted
from app.deletion_requests.targets import Target
from app.instance_lists import repository as instance_lists
from app.jobs.opening import join_or_open
from models import time_ordered_id
from models.states import RunStatus

EXACT = "retrain"

_OPEN_JOB = text(
    "SELECT id FROM jobs WHERE registered_model_id = :model_id AND method = :method AND accepts_requests"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that may be recorded."""

    sent: NewDeletionRequest
    instances: NamedInstances
    counted: list[tuple[Target, Counted]]
    due_at: datetime | None
    acknowledge_by: datetime | None

    @property
    def hash_key_id(self) -> str:
        """All targets are of one data set."""
        return self.counted[0][0].hash_key_id


async def check(
    session: AsyncSession, caller: Caller, settings: Settings, sent: NewDeletionRequest
) -> Checked:
    """Raises `Forbidden`, `NotFound`, `Conflict`, `TooLarge` and `InvalidInput`; writes nothing."""
    if sent.model is None:
        caller.require_all_models()  # also of models that are registered while the request is under way
    dates = deadlines(sent.regulation, settings)
    found = await _targets(session, caller, settings, sent)
    instances = await _instances(session, caller, settings, sent, found[0].hash_key_id)
    counted = []
    for target in found:
        counts = await supervision.count(session, target, instances)
        counted.append((_able_to(target, counts, sent), counts))
    for target, counts in counted:
        await supervision.refuse_to_erase_a_task(session, target, instances, counts)
    return Checked(sent, instances, counted, dates.due_at, dates.acknowledge_by)


async def estimate(session: AsyncSession, checked: Checked) -> Estimate:
    return Estimate(
        instance_count=checked.instances.count,
        due_at=checked.due_at,
        models=[
            ModelEstimate(
                model=target.name,
                method=target.method,
                guarantee=target.guarantee,
                tasks=list(target.tasks),
                already_forgotten=counts.settled,
                joins_open_job=await _has_open_job(session, target),
                visits=target.visits,
                passes=target.visits * (checked.instances.count - counts.settled),
            )
            for target, counts in checked.counted
        ],
    )


async def accept(session: AsyncSession, caller: Caller, checked: Checked) -> DeletionRequestView:
    """Record the request (one per model, below a parent, when it names a data set) and queue it."""
    sent = checked.sent
    if sent.model is not None:
        target, counts = checked.counted[0]
        return await _accept_for_model(session, caller, checked, target, counts, None)
    parent = _parent_row(checked)
    created_at = await record(session, caller, parent, checked.instances, checked.hash_key_id)
    # The targets are in the order of the models' ids: two of these lock their jobs in the same order.
    children = [
        await _record_for_model(session, caller, checked, target, counts, parent.id)
        for target, counts in checked.counted
    ]
    for (target, _), (child, _) in zip(checked.counted, children, strict=True):
        await _queue(session, caller, target, child)
    view = _view(parent, checked, checked.counted[0][0], created_at, job=None)
    view.model = None
    view.children = [child.id for child, _ in children]
    settled = all(child.status == RunStatus.SUCCEEDED for child, _ in children)
    view.status = "succeeded" if settled else "queued"
    view.finished_at = created_at if settled else None
    return view


async def _accept_for_model(
    session: AsyncSession,
    caller: Caller,
    checked: Checked,
    target: Target,
    counts: Counted,
    parent_id: uuid.UUID | None,
) -> DeletionRequestView:
    row, created_at = await _record_for_model(session, caller, checked, target, counts, parent_id)
    job = await _queue(session, caller, target, row)
    return _view(row, checked, target, created_at, job)


async def _record_for_model(
    session: AsyncSession,
    caller: Caller,
    checked: Checked,
    target: Target,
    counts: Counted,
    parent_id: uuid.UUID | None,
) -> tuple[NewRow, datetime]:
    """When nothing is left to forget, the request has succeeded already, by the version that is head."""
    settled = counts.settled == checked.instances.count
    row = NewRow(
        id=time_ordered_id(),
        parent_id=parent_id,
        dataset_id=target.dataset_id,
        model_id=target.model_id,
        tasks=list(target.tasks),
        scope=target.scope,
        method=target.method,
        guarantee=target.guarantee,
        already_forgotten=counts.settled,
        status=RunStatus.SUCCEEDED if settled else RunStatus.QUEUED,
        result_version_id=target.head_version_id if settled else None,
        reference=checked.sent.reference,
        regulation=checked.sent.regulation,
        metadata=checked.sent.metadata,
        due_at=checked.due_at,
        acknowledge_by=checked.acknowledge_by,
    )
    return row, await record(session, caller, row, checked.instances, checked.hash_key_id)


async def _queue(session: AsyncSession, caller: Caller, target: Target, row: NewRow) -> uuid.UUID | None:
    """The last statement of the transaction, because it locks the job's row."""
    if row.status != RunStatus.QUEUED:
        return None
    return await join_or_open(
        session,
        tenant_id=caller.tenant_id,
        model_id=target.model_id,
        method=row.method,
        due_at=row.due_at,
        request_ids=[row.id],
        http_request_id=caller.request_id,
    )


def _parent_row(checked: Checked) -> NewRow:
    first = checked.counted[0][0]
    tasks = sorted({task for target, _ in checked.counted for task in target.tasks})
    full = all(target.scope == "full" for target, _ in checked.counted)
    return NewRow(
        id=time_ordered_id(),
        parent_id=None,
        dataset_id=first.asked_id,
        model_id=None,
        tasks=tasks,
        scope="full" if full else "partial",
        method=checked.sent.method or first.method,
        guarantee=first.guarantee,
        already_forgotten=min(counts.settled for _, counts in checked.counted),
        status=None,
        result_version_id=None,
        reference=checked.sent.reference,
        regulation=checked.sent.regulation,
        metadata=checked.sent.metadata,
        due_at=checked.due_at,
        acknowledge_by=checked.acknowledge_by,
    )


def _view(
    row: NewRow, checked: Checked, target: Target, created_at: datetime, job: uuid.UUID | None
) -> DeletionRequestView:
    """As the request is now, from what is known already. Everything in it was validated when it came in."""
    settled = row.status == RunStatus.SUCCEEDED
    status: Status = "succeeded" if settled else "queued"
    return DeletionRequestView.model_construct(
        id=row.id,
        parent=row.parent_id,
        model=target.name,
        dataset=target.dataset,
        status=status,
        tasks=row.tasks,
        scope=row.scope,
        method=row.method,
        guarantee=target.guarantee,
        instance_count=checked.instances.count,
        already_forgotten=row.already_forgotten,
        reference=row.reference,
        regulation=row.regulation,
        metadata=row.metadata,
        created_at=created_at,
        due_at=row.due_at,
        acknowledge_by=row.acknowledge_by,
        acknowledged_at=None,
        extension=None,
        finished_at=created_at if settled else None,
        job=job,
        result_version=target.head_number if settled else None,
        error_code=None,
        error_detail=None,
        transitions=[Transition.model_construct(status=status, at=created_at)],
        figures=None,
        children=None,
        failed_children=None,
        descendants=None,
    )


def _able_to(target: Target, counts: Counted, sent: NewDeletionRequest) -> Target:
    """The method can do it: what is gone from the data is forgotten by training anew without it only."""
    if not counts.gone or target.method == EXACT:
        return target
    if sent.method is None:
        return replace(target, method=EXACT)
    raise InvalidInput(
        f"{counts.gone} of the instances are no longer in the data of model {target.name}, and cannot be "
        "unlearned step by step: leave the method out, or ask for retrain.",
        code="instances_gone",
        count=counts.gone,
    )


async def _targets(
    session: AsyncSession, caller: Caller, settings: Settings, sent: NewDeletionRequest
) -> list[Target]:
    method = "retrain" if sent.guarantee == "exact" else sent.method
    arguments = (sent.tasks, method, sent.guarantee or "empirical", settings)
    if sent.model is not None:
        return [await targets.of_model(session, caller.tenant_id, sent.model, *arguments)]
    return await targets.of_dataset(session, caller.tenant_id, sent.dataset or "", *arguments)


async def _instances(
    session: AsyncSession, caller: Caller, settings: Settings, sent: NewDeletionRequest, key_id: str
) -> NamedInstances:
    """Under the key of the data set's index, which is not the newest while keys are rotated."""
    if sent.instance_list is None:
        return await read_instances(sent.instances or [], caller.tenant_id, settings, key_id)
    found = await instance_lists.packed(session, caller.tenant_id, sent.instance_list)
    if found is None:
        raise NotFound("There is no such instance list.", code="instance_list_not_found")
    instances, listed_under = found
    try:
        return instances.advanced(caller.tenant_id, settings, listed_under, key_id)
    except UnknownHashKey:
        raise targets.hash_key_changed() from None


async def _has_open_job(session: AsyncSession, target: Target) -> bool:
    bound = {"model_id": target.model_id, "method": target.method}
    return (await session.execute(_OPEN_JOB, bound)).one_or_none() is not None
