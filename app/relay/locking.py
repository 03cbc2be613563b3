"""Jobs that need something done to them are taken one at a time, by whichever relay comes first."""

from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from models import Job


def lock_one_job(session: Session, *conditions: ColumnElement[bool], first: Any = Job.id) -> Job | None:
    """The first job, by `first`, that meets all conditions, locked until the transaction ends; or None.

    One that is locked is being settled, or its lease renewed, at this very moment: it is passed over.
    """
    return session.scalar(
        select(Job)
        .where(*conditions)
        .order_by(first)
        .limit(1)
        .with_for_update(key_share=True, skip_locked=True)
    )
