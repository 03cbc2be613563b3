"""An OpenDSR request becomes a deletion request: checked, recorded, queued and cancelled by that slice."""

import hmac
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.audit import audit_entry
from app.core.errors import Conflict, InvalidInput, NotFound
from app.core.rows import AnyRow
from app.core.settings import Settings
from app.deletion_requests import acceptance, cancellation, deadlines
from app.deletion_requests.idempotency import request_digest
from app.deletion_requests.schemas import DeletionRequestView, NewDeletionRequest
from app.instance_lists import repository as instance_lists
from app.opendsr import repository, resolving
from app.opendsr.reading import Extension, SentRequest
from app.opendsr.resolving import Resolver
from app.opendsr.signing import domain_of
from app.outbound.addresses import read_listed
from app.outbound.urls import why_never

STUB_STEPS = {"pending": "in_progress", "in_progress": "completed"}


@dataclass(frozen=True)
class Door:
    """Where a call came in: the real one, or the one for trying it out, behind which nothing is deleted."""

    settings: Settings
    resolver: Resolver
    stub: bool


async def create(session: AsyncSession, caller: Caller, door: Door, body: bytes) -> AnyRow:
    """The request's row. Raises what the deletion requests' slice raises, and `ValidationError`."""
    caller.require_all_models()
    sent = SentRequest.model_validate_json(body)
    settings = door.settings
    extension = sent.extension(domain_of(settings))
    regulation = deadlines.find(sent.regulation, settings)
    deadlines.deadlines(sent.regulation, settings)  # raises when there is no such regulation
    assert regulation is not None
    _refuse_unreachable(sent.callbacks, settings)
    await repository.hold(session, caller.tenant_id, sent.subject_request_id)
    digest = request_digest(settings, "POST", "/opendsr/stub" if door.stub else "/opendsr", body)
    kept = await repository.find(session, caller.tenant_id, sent.subject_request_id)
    if kept is not None:
        return _same(kept, digest)
    if not sent.identities and extension.instances is None:
        raise InvalidInput("subject_identities is empty: name at least one.", code="no_identities")
    values: dict[str, Any] = {
        "subject_request_id": sent.subject_request_id,
        "regulation": sent.regulation.lower(),
        "api_version": sent.api_version,
        "submitted_at": sent.submitted_time,
        "expected_at": regulation.due.end(sent.submitted_time),
        "instance_count": 0,
        "body_digest": digest,
    }
    if door.stub:
        values["stub_status"] = "pending"
    else:
        made = await _request_deletion(session, caller, door, sent, extension)
        if made is not None:
            values |= {"deletion_request_id": made.id, "instance_count": made.instance_count}
    await repository.add(session, caller.tenant_id, values, sent.callbacks)
    row = await repository.find(session, caller.tenant_id, sent.subject_request_id)
    assert row is not None
    await _note(session, caller, "create", row, instances=row.instance_count, stub=door.stub)
    return row


async def row_of(session: AsyncSession, caller: Caller, door: Door, name: str) -> AnyRow:
    """Raises `Forbidden` and `NotFound`."""
    caller.require_all_models()
    try:
        row = await repository.find(session, caller.tenant_id, uuid.UUID(name))
    except ValueError:
        row = None
    if row is None or (row.stub_status is not None) != door.stub:
        raise NotFound("There is no request of this subject_request_id.", code="opendsr_request_not_found")
    return row


async def cancel(session: AsyncSession, caller: Caller, door: Door, name: str) -> AnyRow:
    """Raises `NotFound` and `Conflict` (request_not_pending)."""
    row = await row_of(session, caller, door, name)
    if row.status != "pending":
        raise Conflict(
            f"It is {row.status}; only a request that is pending can be cancelled.",
            code="request_not_pending",
        )
    if not door.stub:
        await cancellation.cancel(session, caller, row.deletion_request_id)
    elif not await repository.move_stub(session, row.id, "pending", "cancelled"):
        raise Conflict("It was moved on just now.", code="request_not_pending")
    await _note(session, caller, "cancel", row)
    return row


async def advance(session: AsyncSession, caller: Caller, door: Door, name: str) -> AnyRow:
    """A stub's next status. Raises `NotFound` and `Conflict` (request_finished)."""
    row = await row_of(session, caller, door, name)
    after = STUB_STEPS.get(row.status)
    if after is None or not await repository.move_stub(session, row.id, row.status, after):
        raise Conflict(f"It is {row.status}, and stays so.", code="request_finished")
    return await row_of(session, caller, door, name)


async def _request_deletion(
    session: AsyncSession, caller: Caller, door: Door, sent: SentRequest, extension: Extension
) -> DeletionRequestView | None:
    """None when the identities stand for nothing here. The law's clock began when the person asked."""
    settings = door.settings
    dataset = await _dataset(session, caller, extension)
    named: dict[str, Any] = {"model": extension.model}
    if extension.model is None:
        named = {"dataset": str(dataset.id)}
    listed = None
    if extension.instances is not None:
        named["instances"] = extension.instances
    elif settings.opendsr_resolver_url:
        named["instances"] = await door.resolver.ask(settings, dataset.name, sent.identities)
        if not named["instances"]:
            return None
    else:
        found = await resolving.from_table(session, settings, caller.tenant_id, dataset, sent.identities)
        if not found.count:
            return None
        listed = await instance_lists.insert_list(session, caller.tenant_id, found, dataset.hash_key_id)
        named["instance_list"] = listed.id
    wanted = NewDeletionRequest(
        **named,
        tasks=extension.tasks,
        method=extension.method,
        regulation=sent.regulation,
        reference=str(sent.subject_request_id),
    )
    checked = await acceptance.check(session, caller, settings, wanted)
    regulation = deadlines.find(sent.regulation, settings)
    assert regulation is not None
    acknowledge = regulation.acknowledge
    checked = replace(
        checked,
        due_at=regulation.due.end(sent.submitted_time),
        acknowledge_by=acknowledge.end(sent.submitted_time) if acknowledge else None,
    )
    made = await acceptance.accept(session, caller, checked)
    if listed is not None:
        await instance_lists.remove(session, caller.tenant_id, listed.id)
    return made


async def _dataset(session: AsyncSession, caller: Caller, extension: Extension) -> AnyRow:
    """The one named, that of the model named, or the tenant's only one. Raises `InvalidInput`."""
    found: AnyRow | None
    if extension.model is not None:
        found = await repository.dataset_of_model(session, caller.tenant_id, extension.model)
        if found is None:
            raise InvalidInput("There is no such model.", code="model_not_found")
        return found
    if extension.dataset is not None:
        found = await repository.dataset(session, caller.tenant_id, extension.dataset)
        if found is None:
            raise InvalidInput("There is no such data set.", code="dataset_not_found")
        return found
    every: Sequence[AnyRow] = await repository.datasets(session, caller.tenant_id)
    if len(every) != 1:
        raise InvalidInput(
            "Name the model or the data set in the extension of this processor: there is not exactly one.",
            code="model_or_dataset_missing",
        )
    return every[0]


def _same(kept: AnyRow, digest: bytes) -> AnyRow:
    if not hmac.compare_digest(bytes(kept.body_digest), digest):
        raise Conflict(
            "This subject_request_id came with another body before; make a new one for a new request.",
            code="subject_request_id_reused",
        )
    return kept


def _refuse_unreachable(urls: Sequence[str], settings: Settings) -> None:
    listed = read_listed(settings.webhook_inner_receivers)
    for url in urls:
        reason = why_never(url, listed)
        if reason is not None:
            raise InvalidInput(f"status_callback_urls: {reason}", code="receiver_not_allowed")


async def _note(session: AsyncSession, caller: Caller, action: str, row: AnyRow, **data: Any) -> None:
    await session.execute(
        audit_entry(caller.tenant_id, caller.actor, f"opendsr.{action}", row.id, caller.request_id, **data)
    )
