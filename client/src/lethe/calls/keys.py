"""API keys of the tenant, for administrators."""

from collections.abc import Sequence
from uuid import UUID

from lethe.answers import APIKey, CreatedAPIKey
from lethe.calls.listing import Page, all_of
from lethe.plan import Plan, call

KEYS = "/v1/api-keys"


def create_key(
    name: str, scopes: Sequence[str], *, expires_in_days: int | None = None
) -> Plan[CreatedAPIKey]:
    """Make a key. Its `key` is in this answer only: keep it at once."""
    body = {"name": name, "scopes": list(scopes), "expires_in_days": expires_in_days}
    return call("POST", KEYS, CreatedAPIKey, body, repeatable=False)


def list_keys(*, most: int = 100) -> Plan[list[APIKey]]:
    """The newest first, without their secrets."""
    return all_of(KEYS, Page[APIKey], most)


def revoke_key(key: UUID | str) -> Plan[APIKey]:
    """By its `id`; at once, and for good."""
    return call("DELETE", f"{KEYS}/{UUID(str(key))}", APIKey)
