"""Who did what. Rows are only ever inserted; no role but the owner may change or remove one."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class AuditEntry(Base):
    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    actor: Mapped[str] = mapped_column(Text)  # key:<public id>, worker:<name>, relay, operator
    action: Mapped[str] = mapped_column(Text)  # such as deletion_request.create
    subject_id: Mapped[uuid.UUID | None]
    request_id: Mapped[str | None] = mapped_column(Text)  # of the HTTP request
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))

    __table_args__ = (Index("ix_audit_log_tenant_id_id", "tenant_id", "id"),)
