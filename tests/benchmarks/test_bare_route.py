"""The bare route that the API is measured beside gives the API's own statements all that they ask for."""

import uuid

from sqlalchemy import TextClause

from app.deletion_requests.recording import _WITH_ITEMS
from app.deletion_requests.repository import _ONE
from app.deletion_requests.supervision import _count
from app.jobs.opening import _JOIN_OR_OPEN
from benchmarks.http.bare import COUNTED, IDS, _place, _row


def test_every_parameter_is_given() -> None:
    same = dict.fromkeys(IDS, uuid.UUID(int=1))
    packed = {"packed": b"", "instance_count": 0}
    assert not _wanted(_count(2, True, False)) - set(same | packed | COUNTED)
    assert not _wanted(_WITH_ITEMS) - set(same | packed | _row(uuid.UUID(int=2)))
    assert not _wanted(_JOIN_OR_OPEN) - set(_place(same, uuid.UUID(int=2)))
    assert _wanted(_ONE) == {"tenant_id", "id"}


def _wanted(statement: TextClause) -> set[str]:
    return set(statement.compile().params)
