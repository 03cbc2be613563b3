"""What readiness means."""

from functools import lru_cache
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

import migrations
from app.core.errors import Unavailable


async def schema_is_current(session: AsyncSession) -> None:
    """Raises `Unavailable`; SQLAlchemy's errors when the database is away."""
    found = (await session.execute(text("SELECT version_num FROM alembic_version"))).scalar()
    if found != newest_revision():
        raise Unavailable(
            f"The schema is at {found}, not at {newest_revision()}: run `python -m migrations`.",
            code="schema_outdated",
        )


@lru_cache(maxsize=1)
def newest_revision() -> str | None:
    return ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head()
