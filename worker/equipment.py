"""What a worker process holds for as long as it lives: settings, connections, storage and its name."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from app.core.database import sync_engine
from app.core.settings import Settings
from app.core.storage import Storage, open_storage


@dataclass(frozen=True)
class Equipment:
    """`heartbeats` is a pool of its own, so that no slow query keeps a lease from being renewed. `abandon` is
    called from the heartbeat's thread when the run hangs."""

    settings: Settings
    sessions: sessionmaker[Session]
    heartbeats: Engine
    storage: Storage
    name: str
    abandon: Callable[[], None]


def equip(settings: Settings, name: str, abandon: Callable[[], None] = lambda: None) -> Equipment:
    """Open everything. Nothing connects yet. Raises `ValueError` without LETHE_WORKER_DATABASE_URL."""
    url = require_database(settings)
    return Equipment(
        settings=settings,
        sessions=sessionmaker(sync_engine(settings, url, "lethe-runs")),
        heartbeats=sync_engine(settings, url, "lethe-heartbeat"),
        storage=open_storage(settings),
        name=name,
        abandon=abandon,
    )


def require_database(settings: Settings) -> str:
    """The URL of the role that workers connect as. Raises `ValueError`."""
    url = settings.worker_database_url.get_secret_value() if settings.worker_database_url else ""
    if not url:
        raise ValueError("A worker needs LETHE_WORKER_DATABASE_URL: PostgreSQL as the role lethe_worker.")
    return url


def put_away(equipment: Equipment) -> None:
    """Close its connections."""
    equipment.sessions.kw["bind"].dispose()
    equipment.heartbeats.dispose()
