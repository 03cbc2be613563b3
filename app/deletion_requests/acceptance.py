"""Accepting a deletion request: everything is checked first, then it is recorded and queued at once."""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.errors import Conflict, InvalidInput, NotFound
from app.core.hashing import UnknownHashKey
from app.core.instances import NamedInstances, read_instances
from app.core.settings import Settings
from app.deletion_requests import supervision, targets
from app.deletion_requests.allowance import Reason
from app.deletion_requests.daily import too_many
from app.deletion_requests.deadlines import deadlines
from app.deletion_requests.recording import NewRow, record
from app.deletion_requests.schemas import (
    ApprovalView,
    DeletionRequestView,
    NewDeletionRequest,
    ReasonView,
    Status,
    Transition,
)
from app.deletion_requests.shares import Bounds, too_much
from app.deletion_requests.supervision import Counted
from app.deletion_requests.targets import Target
from app.instance_lists import repository as instance_lists
from app.jobs.opening import join_or_open
from models import time_ordered_id
from models.states import RunStatus

EXACT = "retrain"


@dataclass(frozen=True, slots=True)
class Part:
    """What is asked of one model: of the instances that a request on a data set names, those that it learned
    from. `reasons`: why that needs a person's word first."""

    target: Target
    instances: NamedInstances
    counts: Counted
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that may be recorded. `instances`: all that it names."""

    sent: NewDeletionRequest
    instances: NamedInstances
    parts: list[Part]
    due_at: datetime | None
    acknowledge_by: datetime | None

    @property
    def hash_key_id(self) -> str:
        """All targets are of snapshots of one data set, which are under one key."""
        return self.parts[0].target.hash_key_id

    @property
    def alike(self) -> bool:
        """Whether every part has all of the instances."""
        return all(part.instances.count == self.instances.count for part in self.parts)


async def check(
    session: AsyncSession, caller: Caller, settings: Settings, sent: NewDeletionRequest
) -> Checked:
    """Raises `Forbidden`, `NotFound`, `Conflict`, `TooLarge` and `InvalidInput`; writes nothing."""
    if sent.model is None:
        caller.require_all_models()  # also of models that are registered while the request is under way
    dates = deadlines(sent.regulation, settings)
    found = await _targets(session, caller, settings, sent)
    instances = await _instances(session, caller, settings, sent, found[0].hash_key_id)
    parts = []
    for target, named in await _shares(session, found, instances, on_dataset=sent.model is None):
        counts = await supervision.count(session, target, named)
        parts.append(Part(_able_to(target, counts, sent), named, counts))
    for part in parts:
        await supervision.refuse_to_erase_a_task(session, part.target, part.instances, part.counts)
    parts = await _judged(session, caller, settings, parts)
    return Checked(sent, instances, parts, dates.due_at, dates.acknowledge_by)


async def accept(session: AsyncSession, caller: Caller, checked: Checked) -> DeletionRequestView:
    """Record the request (one per model, below a parent, when it names a data set) and queue it."""
    sent = checked.sent
    if sent.model is not None:
        return await _accept_for_model(session, caller, checked, checked.parts[0])
    parent = _parent_row(checked)
    created_at = await record(
        session, caller, parent, checked.instances, checked.hash_key_id, with_items=not checked.alike
    )
    # The parts are in the order of the models' ids: two of these lock their jobs in the same order.
    children = [await _record_for_model(session, caller, checked, part, parent.id) for part in checked.parts]
    for part, (child, _) in zip(checked.parts, children, strict=True):
        await _queue(session, caller, part.target, child)
    view = _view(parent, checked, checked.parts[0].target, created_at, job=None)
    view.model = None
    view.dataset = checked.parts[0].target.asked
    view.children = [child.id for child, _ in children]
    statuses = {child.status for child, _ in children}
    settled = statuses == {RunStatus.SUCCEEDED}
    view.status = "succeeded" if settled else "queued"
    if RunStatus.AWAITING_APPROVAL in statuses:
        view.status = "awaiting_approval"
    view.finished_at = created_at if settled else None
    return view


async def _accept_for_model(
    session: AsyncSession, caller: Caller, checked: Checked, part: Part
) -> DeletionRequestView:
    row, created_at = await _record_for_model(session, caller, checked, part, None)
    job = await _queue(session, caller, part.target, row)
    return _view(row, checked, part.target, created_at, job)


async def _judged(session: AsyncSession, caller: Caller, settings: Settings, parts: list[Part]) -> list[Part]:
    """With the reasons why they need a person's word; what takes nothing needs none."""
    new = max(part.instances.count - part.counts.settled for part in parts)
    if not new:
        return parts
    daily = await session.run_sync(too_many, caller.tenant_id, settings, new)
    judged = []
    for part in parts:
        reasons: list[Reason] = []
        if part.counts.settled < part.instances.count:
            bounds = _bounds(part)
            reasons = daily + await session.run_sync(too_much, part.target.subject, part.instances, bounds)
        judged.append(replace(part, reasons=tuple(reasons)))
    return judged


def _bounds(part: Part) -> Bounds:
    """What was counted is what would go, unless labels are counted that are forgotten already, or the model
    has learned from snapshots before."""
    target = part.target
    exact = target.counts_forgotten and not target.has_moved
    return Bounds(target.gone, target.pending, part.counts.fresh, exact)


async def _record_for_model(
    session: AsyncSession,
    caller: Caller,
    checked: Checked,
    part: Part,
    parent_id: uuid.UUID | None,
) -> tuple[NewRow, datetime]:
    """When nothing is left to forget, the request has succeeded already, by the version that is head."""
    target, counts = part.target, part.counts
    settled = counts.settled == part.instances.count
    status = RunStatus.AWAITING_APPROVAL if part.reasons else RunStatus.QUEUED
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
        status=RunStatus.SUCCEEDED if settled else status,
        result_version_id=target.head_version_id if settled else None,
        reference=checked.sent.reference,
        regulation=checked.sent.regulation,
        metadata=checked.sent.metadata,
        due_at=checked.due_at,
        acknowledge_by=checked.acknowledge_by,
        reasons=part.reasons,
    )
    return row, await record(session, caller, row, part.instances, checked.hash_key_id)


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
    first = checked.parts[0].target
    tasks = sorted({task for part in checked.parts for task in part.target.tasks})
    full = all(part.target.scope == "full" for part in checked.parts)
    return NewRow(
        id=time_ordered_id(),
        parent_id=None,
        dataset_id=first.asked_id,
        model_id=None,
        tasks=tasks,
        scope="full" if full else "partial",
        method=checked.sent.method or first.method,
        guarantee=first.guarantee,
        already_forgotten=min(part.counts.settled for part in checked.parts),
        status=None,
        result_version_id=None,
        reference=checked.sent.reference,
        regulation=checked.sent.regulation,
        metadata=checked.sent.metadata,
        due_at=checked.due_at,
        acknowledge_by=checked.acknowledge_by,
        reasons=tuple(dict.fromkeys(reason for part in checked.parts for reason in part.reasons)),
    )


def _view(
    row: NewRow, checked: Checked, target: Target, created_at: datetime, job: uuid.UUID | None
) -> DeletionRequestView:
    """As the request is now, from what is known already. Everything in it was validated when it came in."""
    settled = row.status == RunStatus.SUCCEEDED
    status: Status = "succeeded" if settled else "queued"
    approval = None
    if row.reasons:
        status = "awaiting_approval"
        reasons = [ReasonView(**reason.kept()) for reason in row.reasons]
        approval = ApprovalView.model_construct(reasons=reasons, decision=None, by=None, reason=None, at=None)
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
        never_had=None,
        reference=row.reference,
        regulation=row.regulation,
        metadata=row.metadata,
        created_at=created_at,
        due_at=row.due_at,
        acknowledge_by=row.acknowledge_by,
        acknowledged_at=None,
        extension=None,
        approval=approval,
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


async def _shares(
    session: AsyncSession, found: list[Target], instances: NamedInstances, *, on_dataset: bool
) -> list[tuple[Target, NamedInstances]]:
    """A request on a model names what the model learned from. One on a data set finds models on other
    snapshots of it, too, and each gets those that its own snapshots had.

    Raises `InvalidInput` (unknown_instance) and `Conflict` (no_model_ready)."""
    if not on_dataset:
        return [(target, instances) for target in found]
    known = [await supervision.known_to_model(session, target.model_id, instances) for target in found]
    learned = {position for positions in known for position in positions}
    await supervision.refuse_unknown(session, found[0].asked_id, instances, learned)
    if not learned:
        raise Conflict("No ready model has learned from any of these instances.", code="no_model_ready")
    return [
        (target, instances if len(positions) == instances.count else instances.only(positions))
        for target, positions in zip(found, known, strict=True)
        if positions
    ]


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
