"""What controllers are told of a request (specification, sections 7.3, 8.3, 8.6 and 9.2)."""

import base64
from datetime import datetime
from typing import Any

from app.core.rows import AnyRow
from app.core.wire import rfc3339


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
