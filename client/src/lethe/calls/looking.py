"""Jobs, lookups, and the keys that the service signs with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from lethe.answers import InstanceMemory, Job, Lookup
from lethe.calls.listing import Page, all_of
from lethe.instances import read_instances
from lethe.plan import Exchange, Outgoing, Plan, ask, call

LOOKED_UP_AT_ONCE = 1000
SIGNING_KEYS = "/.well-known/lethe-signing-keys.json"


def get_job(job: UUID | str) -> Plan[Job]:
    """Phase, progress, attempts, device, figures."""
    return call("GET", f"/v1/jobs/{UUID(str(job))}", Job)


def list_jobs(*, model: str | None = None, status: str | None = None, most: int = 100) -> Plan[list[Job]]:
    """The newest first."""
    return all_of("/v1/jobs", Page[Job], most, model=model, status=status)


def approve(job: UUID | str, *, reason: str | None = None) -> Plan[Job]:
    """Publish a candidate that missed a gate."""
    return _decide(job, "approve", {"reason": reason})


def reject(job: UUID | str, *, reason: str | None = None) -> Plan[Job]:
    """Drop a candidate that missed a gate; its requests are cancelled."""
    return _decide(job, "reject", {"reason": reason})


def retry(job: UUID | str) -> Plan[Job]:
    """Try a failed job's work again; the answer is the job in which it goes on."""
    return _decide(job, "retry", None)


def look_up(dataset: str, instances: Sequence[str | int] | Path) -> Plan[Lookup]:
    """Which models learned from these instances, and what was forgotten, by which request and version.

    The service records every lookup in its audit log.
    """
    named = list(read_instances(instances)) if isinstance(instances, Path) else list(instances)
    found: list[InstanceMemory] = []
    for start in range(0, max(1, len(named)), LOOKED_UP_AT_ONCE):
        body = {"dataset": dataset, "instances": named[start : start + LOOKED_UP_AT_ONCE]}
        answer = yield from call("POST", "/v1/lookups", Lookup, body)
        dataset, found = answer.dataset, found + answer.data
    return Lookup(dataset=dataset, data=found)


def signing_keys() -> Plan[bytes]:
    """The service's public keys, as `lethe verify --key` takes them."""
    return (yield from ask(Exchange(Outgoing("GET", SIGNING_KEYS)))).body


def _decide(job: UUID | str, decision: str, body: dict[str, Any] | None) -> Plan[Job]:
    return call("POST", f"/v1/jobs/{UUID(str(job))}/{decision}", Job, body, repeatable=False)
