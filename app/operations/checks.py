"""What readiness means."""

from functools import lru_cache
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

import migrations
from app.core.errors import Unavailable


async def schema_is_current(sessions: async_sessionmaker[AsyncSession]) -> None:
    """The schema is as new as this code or newer. Raises `Unavailable`; SQLAlchemy's errors when the database
    is away."""
    async with sessions() as session:
        found = (await session.execute(text("SELECT version_num FROM alembic_version"))).scalar()
    newest, older = _revisions()
    # One that this code does not know was made after it: it goes on working with that.
    if found is None or found in older:
        raise Unavailable(
            f"The schema is at {found}, not at {newest}: run `python -m migrations`.",
            code="schema_outdated",
        )


@lru_cache(maxsize=1)
def _revisions() -> tuple[str | None, frozenset[str]]:
    """The newest that this code knows, and all those before it."""
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    newest = scripts.get_current_head()
    return newest, frozenset(each.revision for each in scripts.walk_revisions()) - {newest}
