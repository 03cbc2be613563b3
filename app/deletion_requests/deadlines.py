"""The dates by which a regulation wants something done about a request."""

from dataclasses import dataclass
from datetime import UTC, datetime

from app.core.errors import InvalidInput
from app.core.regulations import Regulation
from app.core.settings import Settings


@dataclass(frozen=True, slots=True)
class Deadlines:
    acknowledge_by: datetime | None = None
    due_at: datetime | None = None


def deadlines(name: str | None, settings: Settings) -> Deadlines:
    """Of a request that is received now. Raises `InvalidInput`, code unknown_regulation."""
    if name is None:
        return Deadlines()
    regulation = find(name, settings)
    if regulation is None:
        known = sorted(settings.regulations)
        raise InvalidInput(
            f"This service knows no due date for the regulation {name!r}; it knows "
            f"{', '.join(known) or 'none'}.",
            code="unknown_regulation",
            known_regulations=known,
        )
    now = datetime.now(UTC)
    acknowledge = regulation.acknowledge
    return Deadlines(acknowledge.end(now) if acknowledge else None, regulation.due.end(now))


def find(name: str, settings: Settings) -> Regulation | None:
    return settings.regulations.get(name.lower())
