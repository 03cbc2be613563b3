"""Lists come in pages, the newest first."""

from typing import Generic, TypeVar
from uuid import UUID

from msgspec import Struct

from lethe.plan import Plan, call

PAGE = 100
Item = TypeVar("Item")


class Page(Struct, Generic[Item], frozen=True):
    data: list[Item]
    has_more: bool


def all_of(path: str, page: type[Page[Item]], most: int, **query: str | None) -> Plan[list[Item]]:
    """Up to `most` items, however many pages they take."""
    found: list[Item] = []
    after: UUID | None = None
    while len(found) < most:
        asked = {name: value for name, value in query.items() if value is not None}
        asked["limit"] = str(min(PAGE, most - len(found)))
        if after is not None:
            asked["after"] = str(after)
        answer = yield from call("GET", path, page, query=asked)
        found += answer.data
        if not answer.has_more or not answer.data:
            break
        after = answer.data[-1].id  # type: ignore[attr-defined]
    return found
