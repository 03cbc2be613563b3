"""Alembic migrations, run as the owner of the database: `python -m migrations`."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

HERE = Path(__file__).parent


def upgrade(connection: Connection, revision: str = "head", in_use: bool = False) -> None:
    """Bring the schema up to `revision`: in the caller's transaction, or `in_use`, on a connection without
    one, as `migrations.online` says."""
    config = _config(connection)
    config.attributes["online"] = in_use
    command.upgrade(config, revision)


def downgrade(connection: Connection, revision: str = "base") -> None:
    """Take the schema down to `revision`, in the caller's transaction."""
    command.downgrade(_config(connection), revision)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.attributes["connection"] = connection
    return config
