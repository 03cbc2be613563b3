"""The service itself."""

from msgspec import Struct


class Health(Struct, frozen=True, kw_only=True):
    status: str


class Readiness(Health, frozen=True, kw_only=True):
    """`storage`: ok, slow or unavailable; only calls that move checkpoints need it."""

    storage: str
