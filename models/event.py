"""The history of requests, jobs and versions."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Event(Base):
    """What happened to a request, a job or a version, in order. Ids of one subject only grow, because
    its row is locked while the event is written."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    subject_id: Mapped[uuid.UUID]
    type: Mapped[str] = mapped_column(Text)  # such as request.running
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))

    __table_args__ = (Index("ix_events_subject_id_id", "subject_id", "id"),)
