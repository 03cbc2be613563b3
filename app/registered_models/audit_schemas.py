"""Stronger looks at versions on the wire."""

import uuid
from typing import Any

from pydantic import Field

from app.core.wire import Answer, Moment


class AuditView(Answer):
    id: uuid.UUID
    created_at: Moment
    digest: str = Field(description="sha256: and 64 hexadecimal characters, over the report's canonical JSON")
    findings: list[str] = Field(description="In plain words: what was seen first, then what was not")


class AuditReportView(AuditView):
    report: dict[str, Any]
