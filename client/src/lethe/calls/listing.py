"""Lists come in pages."""

from typing import Generic, TypeVar
from uuid import UUID

from msgspec import Struct

from lethe.plan import Plan, call

PAGE = 100
Item = TypeVar("Item")


class Page(Struct, Generic[Item], frozen=True):
    data: list[Item]
    has_more: bool


def all_of(
    path: str,
    page: type[Page[Item]],
    most: int,
    *,
    place: str = "id",
    after: UUID | int | None = None,
    **query: str | None,
) -> Plan[list[Item]]:
    """Up to `most` items, however many pages they take. `place`: the member that `after` is compared with."""
    found: list[Item] = []
    while len(found) < most:
        asked = {name: value for name, value in query.items() if value is not None}
        asked["limit"] = str(min(PAGE, most - len(found)))
        if after is not None:
            asked["after"] = str(after)
        answer = yield from call("GET", path, page, query=asked)
        found += answer.data
        if not answer.has_more or not answer.data:
            break
        after = getattr(answer.data[-1], place)
    return found
