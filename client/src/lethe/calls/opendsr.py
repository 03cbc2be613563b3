"""OpenDSR, as a controller speaks it, and the tables of identities. Answers are signed in
`X-OpenDSR-Signature`, which this client does not check. `stub`: a rehearsal, nothing is deleted."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote
from uuid import UUID

from lethe.answers import IdentitiesAdded, IdentitiesRemoved, OpenDSRCancelled, OpenDSRCreated, OpenDSRStatus
from lethe.plan import Exchange, Outgoing, Plan, ask, call

OPENDSR = "/opendsr/v2"


def opendsr_discovery(*, stub: bool = False) -> Plan[dict[str, Any]]:
    """Which identities and types of request the service takes."""
    return call("GET", f"{_base(stub)}/discovery", dict[str, Any])


def opendsr_certificate() -> Plan[bytes]:
    """The certificate (PEM) whose key signs answers and callbacks."""
    return (yield from ask(Exchange(Outgoing("GET", f"{OPENDSR}/certificate.pem")))).body


def send_opendsr_request(request: Mapping[str, Any], *, stub: bool = False) -> Plan[OpenDSRCreated]:
    """Ask for an erasure; `request` is the body as OpenDSR 2.0 has it. The same body again is the same
    request."""
    return call("POST", f"{_base(stub)}/opendsr_requests", OpenDSRCreated, request)


def get_opendsr_request(subject_request_id: UUID | str, *, stub: bool = False) -> Plan[OpenDSRStatus]:
    """pending, in_progress, completed or cancelled."""
    return call("GET", _path(subject_request_id, stub), OpenDSRStatus)


def cancel_opendsr_request(subject_request_id: UUID | str, *, stub: bool = False) -> Plan[OpenDSRCancelled]:
    """Withdraw a request that is pending."""
    return call("DELETE", _path(subject_request_id, stub), OpenDSRCancelled, repeatable=False)


def advance_opendsr_stub(subject_request_id: UUID | str) -> Plan[OpenDSRStatus]:
    """Move a rehearsal on, from pending to in_progress to completed."""
    return call("POST", f"{_path(subject_request_id, True)}/advance", OpenDSRStatus, repeatable=False)


def add_identities(dataset: str, identities: Sequence[Mapping[str, Any]]) -> Plan[IdentitiesAdded]:
    """Say which instances a person is: `identity_type`, `identity_value`, `identity_format`, `instances`.
    It adds to what is there."""
    return call("POST", _identities(dataset), IdentitiesAdded, {"identities": identities})


def remove_identities(dataset: str) -> Plan[IdentitiesRemoved]:
    """Empty the data set's table."""
    return call("DELETE", _identities(dataset), IdentitiesRemoved)


def _base(stub: bool) -> str:
    return f"{OPENDSR}/stub" if stub else OPENDSR


def _path(subject_request_id: UUID | str, stub: bool) -> str:
    return f"{_base(stub)}/opendsr_requests/{UUID(str(subject_request_id))}"


def _identities(dataset: str) -> str:
    return f"/v1/datasets/{quote(dataset, safe='')}/identities"
