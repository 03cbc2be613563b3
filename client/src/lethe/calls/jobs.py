"""Jobs: what runs, and a person's word on a candidate that missed a gate."""

from typing import Any
from uuid import UUID

from lethe.answers import Event, Job
from lethe.calls.listing import Page, all_of
from lethe.plan import Plan, call


def get_job(job: UUID | str) -> Plan[Job]:
    """Phase, progress, attempts, device, figures."""
    return call("GET", _path(job), Job)


def list_jobs(*, model: str | None = None, status: str | None = None, most: int = 100) -> Plan[list[Job]]:
    """The newest first."""
    return all_of("/v1/jobs", Page[Job], most, model=model, status=status)


def approve(job: UUID | str, *, reason: str) -> Plan[Job]:
    """Publish a candidate that missed a gate. The reason is kept, and is in the certificates."""
    return _decide(job, "approve", {"reason": reason})


def reject(job: UUID | str, *, reason: str) -> Plan[Job]:
    """Drop a candidate that missed a gate: its requests fail with `candidate_rejected`."""
    return _decide(job, "reject", {"reason": reason})


def retry(job: UUID | str) -> Plan[Job]:
    """Try a failed job's work again; the answer is the job in which it goes on."""
    return _decide(job, "retry", None)


def cancel_job(job: UUID | str) -> Plan[Job]:
    """Withdraw a job with all its requests. To withdraw one request: `cancel`."""
    return _decide(job, "cancel", None)


def job_history(job: UUID | str) -> Plan[list[Event]]:
    """What has happened so far. To follow it as it happens: `job_events`."""
    found = yield from call("GET", f"{_path(job)}/events", dict[str, list[dict[str, Any]]])
    return [Event(id=each["id"], type=each["type"], data=each["data"]) for each in found["data"]]


def _decide(job: UUID | str, decision: str, body: dict[str, Any] | None) -> Plan[Job]:
    return call("POST", f"{_path(job)}/{decision}", Job, body, repeatable=False)


def _path(job: UUID | str) -> str:
    return f"/v1/jobs/{UUID(str(job))}"
