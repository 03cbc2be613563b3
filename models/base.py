"""What every table shares: the declarative base, names of constraints, time-ordered ids."""

import os
import time
import uuid
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, MetaData, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads it from the class)
        uuid.UUID: Uuid(as_uuid=True),
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


def time_ordered_id() -> uuid.UUID:
    """A UUID version 7 (RFC 9562 section 5.7): 48 bits of Unix milliseconds, then random bits, so that
    sorting by id is sorting by creation and a list can be paged by id alone."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return uuid.UUID(int=value)


class Identified:
    """A row with a time-ordered id of its own and the time it was made."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=time_ordered_id)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


def one_of(column: str, values: Iterable[StrEnum]) -> str:
    """The CHECK expression that holds `column` to these members of a string enumeration."""
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({listed})"
