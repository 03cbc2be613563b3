"""Rows of the audit log and of the event history, written in the transaction of what they tell of."""

import uuid
from typing import Any

from sqlalchemy import Insert, insert

from models import AuditEntry, Event


def audit_entry(
    tenant_id: uuid.UUID,
    actor: str,
    action: str,
    subject_id: uuid.UUID | None = None,
    request_id: str | None = None,
    **data: Any,
) -> Insert:
    """The statement that records who (`key:<public id>`, `worker:<name>`, `relay`, `operator`) did what."""
    return insert(AuditEntry).values(
        tenant_id=tenant_id,
        actor=actor,
        action=action,
        subject_id=subject_id,
        request_id=request_id,
        data=data,
    )


def event(tenant_id: uuid.UUID, subject_id: uuid.UUID, type: str, **data: Any) -> Insert:
    """The statement that adds to a subject's history. Run it while holding the subject's row lock."""
    return insert(Event).values(tenant_id=tenant_id, subject_id=subject_id, type=type, data=data)
