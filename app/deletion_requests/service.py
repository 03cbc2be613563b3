"""Reading deletion requests, and following them."""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.auth.caller import Caller
from app.core.errors import NotFound
from app.core.event_stream import Look, Subject
from app.core.rows import AnyRow
from app.deletion_requests import repository
from app.deletion_requests.schemas import DeletionRequestView, DescendantView
from app.registered_models.descendants import Named, that_remember
from models.states import TERMINAL

RETRY_AFTER_SECONDS = 2

_LOOK = text(
    "SELECT coalesce(bool_and(r.status IN ('succeeded', 'failed', 'cancelled')), false) AS finished,"
    " (array_agg(jsonb_build_object('phase', j.phase) || j.progress) FILTER (WHERE j.status = 'running'"
    " AND j.progress IS NOT NULL))[1] AS progress"
    " FROM deletion_requests r LEFT JOIN jobs j ON j.id = r.job_id"
    " WHERE r.tenant_id = :tenant_id AND r.id = ANY(CAST(:ids AS uuid[])) AND r.status IS NOT NULL"
)


async def row_of(session: AsyncSession, caller: Caller, request_id: uuid.UUID) -> AnyRow:
    """Raises `NotFound`."""
    return await session.run_sync(found, caller.tenant_id, request_id)


def found(session: Session, tenant_id: uuid.UUID, request_id: uuid.UUID) -> AnyRow:
    """Raises `NotFound`."""
    row = repository.find(session, tenant_id, request_id)
    if row is None:
        raise NotFound("There is no such deletion request.", code="deletion_request_not_found")
    return row


def view(row: AnyRow) -> DeletionRequestView:
    return DeletionRequestView(**row._mapping)


async def descendants(session: AsyncSession, caller: Caller, row: AnyRow) -> list[DescendantView] | None:
    """None of a request on a data set: its children have them."""
    if row.registered_model_id is None:
        return None
    if not row.has_descendants:
        return []
    named = Named.by_request(row.id, row.tasks)
    found = await that_remember(session, caller.tenant_id, row.registered_model_id, row.model, named)
    return [
        DescendantView(
            model=each.model, derived_from=f"{each.source}@{each.version}", instances=len(each.positions)
        )
        for each in found
    ]


def etag(row: AnyRow) -> str:
    """Weak: it counts changes of state, and says nothing about bytes."""
    return f'W/"{row.revision}"'


def is_finished(row: AnyRow) -> bool:
    return row.status in TERMINAL


def subject(caller: Caller, row: AnyRow, after: int) -> Subject:
    """The request's history; that of a request on a data set is its children's."""
    ids = [row.id, *(row.children or [])]

    async def look(session: AsyncSession) -> Look:
        found = await session.execute(_LOOK, {"tenant_id": caller.tenant_id, "ids": ids})
        seen = found.one()
        return Look(seen.finished, seen.progress)

    return Subject(caller.sight, ids, look, after)
