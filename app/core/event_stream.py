"""A subject's history as JSON or as server-sent events (WHATWG HTML section 9.2).

Ids are those of the table `events`, so a stream resumes by Last-Event-ID. Between polls no connection
to the database is held. Progress has no id: it is not history.
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Uuid
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.core.errors import BadRequest
from app.core.openapi import header_parameters
from app.core.rows import AnyRow
from app.core.sight import SeeingSessions, Sight
from app.core.wire import Answer, Moment, rfc3339
from models import Event

POLL_SECONDS = 0.5
KEEPALIVE_SECONDS = 15.0
# Then the client reconnects, and its key is looked at again.
STREAM_SECONDS = 600.0
MAX_LISTED = 1000
MEDIA_TYPE = "text/event-stream"
_MAX_EVENT_ID = (1 << 63) - 1
_MAX_DIGITS = 19

_AFTER = (
    select(Event.id, Event.subject_id, Event.type, Event.data, Event.created_at)
    .where(
        Event.tenant_id == bindparam("tenant_id"),
        Event.subject_id == text("ANY(:subjects)").bindparams(bindparam("subjects", type_=ARRAY(Uuid))),
        Event.id > bindparam("after"),
    )
    .order_by(Event.id)
    .limit(MAX_LISTED)
)


class EventView(Answer):
    id: int
    type: str
    subject: uuid.UUID
    data: dict[str, Any]
    at: Moment


FOLLOWED: dict[int | str, dict[str, Any]] = {
    200: {"description": "The events so far, or the stream", "content": {MEDIA_TYPE: {}}},
    204: {"description": "The stream has ended, and Last-Event-ID is its end"},
}


# Read where it is needed, and so declared by hand.
RESUMED = header_parameters({"Last-Event-ID": {"type": "string", "pattern": "^[0-9]{0,18}$"}})


class EventList(Answer):
    data: list[EventView]


@dataclass(frozen=True)
class Look:
    """What a poll finds beside the events: whether the subject is done, and how far its job is."""

    finished: bool
    progress: dict[str, Any] | None = None


@dataclass
class Subject:
    """Whose history it is. `look` runs in the session of a poll."""

    sight: Sight
    ids: list[uuid.UUID]
    look: Callable[[AsyncSession], Awaitable[Look]]
    after: int = 0
    shown: dict[str, Any] | None = field(default=None)


async def history(session: AsyncSession, subject: Subject) -> list[AnyRow]:
    bound = {"tenant_id": subject.sight.tenant_id, "subjects": subject.ids, "after": subject.after}
    return list((await session.execute(_AFTER, bound)).all())


def as_views(rows: list[AnyRow]) -> EventList:
    return EventList(
        data=[
            EventView(id=row.id, type=row.type, subject=row.subject_id, data=row.data, at=row.created_at)
            for row in rows
        ]
    )


def wants_stream(request: Request) -> bool:
    return MEDIA_TYPE in request.headers.get("accept", "")


def last_event_id(request: Request) -> int:
    """Raises `BadRequest`."""
    sent = request.headers.get("last-event-id", "").strip()
    if not sent:
        return 0
    # The length first: Python refuses to read thousands of digits.
    readable = sent.isascii() and sent.isdigit() and len(sent) <= _MAX_DIGITS
    if not (readable and int(sent) <= _MAX_EVENT_ID):
        raise BadRequest(
            "Last-Event-ID must be the id of an event of this stream.", code="last_event_id_invalid"
        )
    return int(sent)


async def answer(request: Request, session: AsyncSession, subject: Subject) -> Response:
    """The history so far as JSON, or the stream. `session` is for the first look only."""
    if not wants_stream(request):
        return Response(
            as_views(await history(session, subject)).model_dump_json(), media_type="application/json"
        )
    if subject.after:
        look = await subject.look(session)
        if look.finished and not await history(session, subject):
            return Response(status_code=204)  # tells an EventSource not to come back
    sessions = SeeingSessions(request.app.state.sessions, subject.sight)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(sessions, subject), 200, headers, MEDIA_TYPE)


async def _stream(sessions: SeeingSessions, subject: Subject) -> AsyncIterator[bytes]:
    yield format_sse_event(retry=int(POLL_SECONDS * 1000), comment="stream of events")
    started = spoke = time.monotonic()
    while time.monotonic() - started < STREAM_SECONDS:
        async with sessions() as session:
            # First the look: an event that comes after it is found by the next poll, at the latest.
            look = await subject.look(session)
            rows = await history(session, subject)
        said = [_event(row) for row in rows]
        if rows:
            subject.after = rows[-1].id
        if look.progress is not None and look.progress != subject.shown and not look.finished:
            subject.shown = look.progress
            said.append(format_sse_event(event="progress", data_str=json.dumps(look.progress)))
        if said:
            yield b"".join(said)
            spoke = time.monotonic()
        elif time.monotonic() - spoke >= KEEPALIVE_SECONDS:
            yield KEEPALIVE_COMMENT
            spoke = time.monotonic()
        if look.finished and len(rows) < MAX_LISTED:
            return
        await asyncio.sleep(POLL_SECONDS)


def _event(row: AnyRow) -> bytes:
    data = {"subject": str(row.subject_id), "at": rfc3339(row.created_at), **row.data}
    return format_sse_event(event=row.type, id=str(row.id), data_str=json.dumps(data))
