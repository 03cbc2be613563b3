"""What controllers are told of a request (specification, sections 7.3, 8.3, 8.6 and 9.2)."""

import base64
from datetime import datetime
from typing import Any, Literal

from app.core.rows import AnyRow
from app.core.wire import Answer, rfc3339


class _OfARequest(Answer):
    controller_id: str
    subject_request_id: str
    api_version: str


class Created(_OfARequest):
    expected_completion_time: str
    received_time: str
    encoded_request: str


class Told(_OfARequest):
    expected_completion_time: str
    request_status: Literal["pending", "in_progress", "completed", "cancelled"]
    results_url: str | None
    results_count: int


class Cancelled(_OfARequest):
    received_time: str


class Supported(Answer):
    identity_type: str
    identity_format: str


class Discovery(Answer):
    api_version: str
    supported_identities: list[Supported]
    supported_subject_request_types: list[str]
    processor_certificate: str


def created(row: AnyRow, body: bytes) -> dict[str, Any]:
    return {
        "controller_id": str(row.tenant_id),
        "expected_completion_time": rfc3339(row.expected_at),
        "received_time": rfc3339(row.created_at),
        "encoded_request": base64.b64encode(body).decode(),
        "subject_request_id": str(row.subject_request_id),
        "api_version": row.api_version,
    }


def told(row: AnyRow) -> dict[str, Any]:
    """Status, as asked for or by callback."""
    return {
        "controller_id": str(row.tenant_id),
        "expected_completion_time": rfc3339(row.expected_at),
        "subject_request_id": str(row.subject_request_id),
        "request_status": row.status,
        "api_version": row.api_version,
        "results_url": None,
        "results_count": row.instance_count,
    }


def cancelled(row: AnyRow, received: datetime) -> dict[str, Any]:
    return {
        "controller_id": str(row.tenant_id),
        "subject_request_id": str(row.subject_request_id),
        "received_time": rfc3339(received),
        "api_version": row.api_version,
    }
