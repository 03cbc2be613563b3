"""Lookups, stronger looks at a version, the keys that the service signs with, and the service itself."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

from msgspec.structs import replace

from lethe.answers import DescendantMemory, Health, InstanceMemory, Lookup, Readiness, VersionAudit
from lethe.calls.listing import Page, all_of
from lethe.instances import read_instances
from lethe.plan import Exchange, Outgoing, Plan, ask, call

LOOKED_UP_AT_ONCE = 1000
SIGNING_KEYS = "/.well-known/lethe-signing-keys.json"


def look_up(dataset: str, instances: Sequence[str | int] | Path) -> Plan[Lookup]:
    """Which models learned from these instances, and what was forgotten, by which request and version.

    The service records every lookup in its audit log.
    """
    named = list(read_instances(instances)) if isinstance(instances, Path) else list(instances)
    found: list[InstanceMemory] = []
    inherited: dict[str, DescendantMemory] = {}
    for start in range(0, max(1, len(named)), LOOKED_UP_AT_ONCE):
        body = {"dataset": dataset, "instances": named[start : start + LOOKED_UP_AT_ONCE]}
        answer = yield from call("POST", "/v1/lookups", Lookup, body)
        dataset, found = answer.dataset, found + answer.data
        for each in answer.descendants:
            before = inherited[each.model].instances if each.model in inherited else []
            inherited[each.model] = replace(each, instances=before + each.instances)
    return Lookup(dataset=dataset, data=found, descendants=list(inherited.values()))


def list_version_audits(model: str, version: int | str, *, most: int = 100) -> Plan[list[VersionAudit]]:
    """What attacks with reference networks have found in a version; the newest look first."""
    return all_of(_audits(model, version), Page[VersionAudit], most)


def get_version_audit(model: str, version: int | str, audit: UUID | str) -> Plan[VersionAudit]:
    """One look, with its whole report."""
    return call("GET", f"{_audits(model, version)}/{UUID(str(audit))}", VersionAudit)


def signing_keys() -> Plan[bytes]:
    """The service's public keys, as `lethe verify --key` takes them."""
    return (yield from ask(Exchange(Outgoing("GET", SIGNING_KEYS)))).body


def health() -> Plan[Health]:
    """The service answers; nothing else is looked at."""
    return call("GET", "/healthz", Health)


def readiness() -> Plan[Readiness]:
    """It can take requests in. Raises `Unavailable` when it cannot."""
    return call("GET", "/readyz", Readiness)


def _audits(model: str, version: int | str) -> str:
    return f"/v1/models/{quote(model, safe='')}/versions/{quote(str(version), safe='')}/audits"
