"""Deletion requests: asking, looking, withdrawing, and what was signed about them."""

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from lethe.answers import DeletionRequest, Estimate, Event, InstanceList
from lethe.calls.listing import Page, all_of
from lethe.calls.waiting import until
from lethe.errors import Conflict
from lethe.instances import read_instances
from lethe.plan import Exchange, Outgoing, Pause, Plan, ask, call

REQUESTS = "/v1/deletion-requests"
LISTS = "/v1/instance-lists"
NOT_SIGNED_YET = "certificate_not_ready"
# More than these are sent ahead, so that a request stays small however often it is sent.
INLINE = 5000

Instances = Sequence[str | int] | Path
Tasks = Literal["all"] | Sequence[str]


def request_deletion(
    instances: Instances,
    *,
    tasks: Tasks,
    model: str | None = None,
    dataset: str | None = None,
    reference: str | None = None,
    regulation: str | None = None,
    method: str | None = None,
    guarantee: Literal["exact", "empirical"] | None = None,
    metadata: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
) -> Plan[DeletionRequest]:
    """Ask for these instances' supervision of `tasks` to be forgotten, by a model or by all of a data set.

    `instances`: ids, or a file of them (`lethe.instances`). It is sent under a key of its own, so that no
    repetition makes a second request. With an `idempotency_key` of yours that holds across runs of your
    program too; the instances then go with the request itself, however many they are, because its body has to
    be the same.
    """
    named = list(read_instances(instances)) if isinstance(instances, Path) else list(instances)
    body = _body(model, dataset, tasks, reference, regulation, method, guarantee, metadata)
    headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    if idempotency_key is not None or len(named) <= INLINE:
        return (
            yield from call("POST", REQUESTS, DeletionRequest, body | {"instances": named}, headers=headers)
        )
    ahead = yield from send_instances(named)
    body |= {"instance_list": ahead.id}
    made = yield from call("POST", REQUESTS, DeletionRequest, body, headers=headers)
    yield from forget_instance_list(ahead.id)
    return made


def estimate(
    instances: Instances,
    *,
    tasks: Tasks,
    model: str | None = None,
    dataset: str | None = None,
    regulation: str | None = None,
    method: str | None = None,
    guarantee: Literal["exact", "empirical"] | None = None,
) -> Plan[Estimate]:
    """What `request_deletion` would do. Nothing is written."""
    named = list(read_instances(instances)) if isinstance(instances, Path) else list(instances)
    body = _body(model, dataset, tasks, None, regulation, method, guarantee, None) | {"instances": named}
    return call("POST", REQUESTS, Estimate, body, query={"dry_run": "true"})


def get_request(request: UUID | str) -> Plan[DeletionRequest]:
    """Status, transitions with times, due date, job, resulting version."""
    return call("GET", _path(request), DeletionRequest)


def list_requests(
    *,
    model: str | None = None,
    status: str | None = None,
    reference: str | None = None,
    most: int = 100,
) -> Plan[list[DeletionRequest]]:
    """The newest first."""
    return all_of(REQUESTS, Page[DeletionRequest], most, model=model, status=status, reference=reference)


def wait(request: DeletionRequest | UUID | str, *, timeout: float | None = None) -> Plan[DeletionRequest]:
    """Until it has ended or waits for a person (`awaiting_approval`, `needs_review`); look at its `status`.

    Raises `StillRunning` when `timeout` seconds were not enough; the request goes on.
    """
    path = _path(request.id if isinstance(request, DeletionRequest) else request)
    return until(path, DeletionRequest, lambda found: found.is_settled, timeout)


def cancel(request: UUID | str) -> Plan[DeletionRequest]:
    """Withdraw it: at once while it waits; while its job runs, as soon as the worker hears of it."""
    return call("POST", f"{_path(request)}/cancel", DeletionRequest, repeatable=False)


def retry_request(request: UUID | str) -> Plan[DeletionRequest]:
    """Queue a failed request again; of a request on a data set, the children that failed."""
    return call("POST", f"{_path(request)}/retry", DeletionRequest, repeatable=False)


def approve_request(request: UUID | str, *, reason: str) -> Plan[DeletionRequest]:
    """Have it carried out though it takes more than may go without a person's word. For administrators."""
    return call("POST", f"{_path(request)}/approve", DeletionRequest, {"reason": reason}, repeatable=False)


def reject_request(request: UUID | str, *, reason: str) -> Plan[DeletionRequest]:
    """Do not have it carried out: it fails with `request_rejected`. For administrators."""
    return call("POST", f"{_path(request)}/reject", DeletionRequest, {"reason": reason}, repeatable=False)


def acknowledge(request: UUID | str) -> Plan[DeletionRequest]:
    """Record that the person was told of the receipt; the first time counts."""
    return call("POST", f"{_path(request)}/acknowledge", DeletionRequest)


def extend(request: UUID | str, *, reason: str, notified_at: datetime) -> Plan[DeletionRequest]:
    """Put the due date off, once, and record what the person was told, and when."""
    body = {"reason": reason, "notified_at": notified_at}
    return call("POST", f"{_path(request)}/extend", DeletionRequest, body, repeatable=False)


def history(request: UUID | str) -> Plan[list[Event]]:
    """What has happened so far. To follow it as it happens: `events`."""
    found = yield from call("GET", f"{_path(request)}/events", dict[str, list[dict[str, Any]]])
    return [Event(id=each["id"], type=each["type"], data=each["data"]) for each in found["data"]]


def certificate(
    request: UUID | str,
    *,
    statement: Literal["unlearning", "disposal"] = "unlearning",
    timeout: float = 30.0,
) -> Plan[bytes]:
    """The signed certificate. Keep it as it comes: `lethe verify` notices every changed byte.

    It is signed seconds after the request has succeeded; for as long as `timeout` says, that is waited for.
    """
    asked = {"statement": statement}
    return _signed(
        Outgoing("GET", f"{_path(request)}/certificate", asked, {"Accept": "application/json"}), timeout
    )


def certificates(request: UUID | str, *, timeout: float = 30.0) -> Plan[bytes]:
    """All that was signed about the request, one envelope per line (an in-toto bundle): of a request on a
    data set the certificates of all its parts, and what names them. Keep it as it comes, too."""
    return _signed(Outgoing("GET", f"{_path(request)}/certificates"), timeout)


def _signed(outgoing: Outgoing, timeout: float) -> Plan[bytes]:
    ends = time.monotonic() + timeout
    while True:
        try:
            return (yield from ask(Exchange(outgoing))).body
        except Conflict as conflict:
            if conflict.code != NOT_SIGNED_YET or time.monotonic() > ends:
                raise
        yield Pause(0.5)


def send_instances(instances: Instances) -> Plan[InstanceList]:
    """Send instances ahead, to be named by several requests. The service keeps keyed hashes of them only."""
    named = list(read_instances(instances)) if isinstance(instances, Path) else list(instances)
    # Sent twice, it makes two lists; the one that nobody names does nothing.
    return call("POST", LISTS, InstanceList, {"instances": named})


def get_instance_list(list_id: UUID | str) -> Plan[InstanceList]:
    """How many instances are in it, and since when."""
    return call("GET", f"{LISTS}/{UUID(str(list_id))}", InstanceList)


def forget_instance_list(list_id: UUID | str) -> Plan[None]:
    """Remove a list. Requests that named it keep their instances."""
    yield from ask(Exchange(Outgoing("DELETE", f"{LISTS}/{UUID(str(list_id))}")))


def _body(
    model: str | None,
    dataset: str | None,
    tasks: Tasks,
    reference: str | None,
    regulation: str | None,
    method: str | None,
    guarantee: str | None,
    metadata: Mapping[str, Any] | None,
) -> dict[str, Any]:
    body = {
        "model": model,
        "dataset": dataset,
        "tasks": tasks,
        "reference": reference,
        "regulation": regulation,
        "method": method,
        "guarantee": guarantee,
        "metadata": metadata,
    }
    return {name: value for name, value in body.items() if value is not None}


def _path(request: UUID | str) -> str:
    return f"{REQUESTS}/{UUID(str(request))}"
