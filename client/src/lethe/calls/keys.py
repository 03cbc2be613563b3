"""API keys of the tenant, for administrators."""

from collections.abc import Sequence
from uuid import UUID

from lethe.answers import APIKey, CreatedAPIKey
from lethe.calls.listing import Page, all_of
from lethe.plan import Plan, call

KEYS = "/v1/api-keys"


def create_key(
    name: str,
    scopes: Sequence[str],
    *,
    models: Sequence[str] | None = None,
    expires_in_days: int | None = None,
) -> Plan[CreatedAPIKey]:
    """Make a key, of all models or of those named only. Its `key` is in this answer only: keep it at once."""
    body = {
        "name": name,
        "scopes": list(scopes),
        "models": None if models is None else list(models),
        "expires_in_days": expires_in_days,
    }
    return call("POST", KEYS, CreatedAPIKey, body, repeatable=False)


def rotate_key(
    key: UUID | str, *, overlap_hours: int = 24, expires_in_days: int | None = None
) -> Plan[CreatedAPIKey]:
    """Make a key in the place of that one, which still opens for `overlap_hours`. Its `key` is in this answer
    only."""
    body = {"overlap_hours": overlap_hours, "expires_in_days": expires_in_days}
    return call("POST", f"{KEYS}/{UUID(str(key))}/rotate", CreatedAPIKey, body, repeatable=False)


def list_keys(*, most: int = 100) -> Plan[list[APIKey]]:
    """The newest first, without their secrets."""
    return all_of(KEYS, Page[APIKey], most)


def revoke_key(key: UUID | str) -> Plan[APIKey]:
    """By its `id`; at once, and for good."""
    return call("DELETE", f"{KEYS}/{UUID(str(key))}", APIKey)
