"""The embedded deployment: PostgreSQL, Redis, API, relay and workers under one command and in one folder.

    python -m app.standalone

For tests and demonstrations the parts can be used by themselves, each as a context manager.
"""

from app.standalone.postgres import PostgresServer
from app.standalone.redis import RedisServer
from app.standalone.refusals import StandaloneError

__all__ = ["PostgresServer", "RedisServer", "StandaloneError"]
