"""The lease that lets a worker act for a job, and the fence that stops the worker which has lost it."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from models import Job, JobKind
from models.states import ACTIVE


@dataclass(frozen=True)
class Claim:
    """A job in this worker's hands. `fence` is what makes it this attempt's and no other's."""

    job_id: uuid.UUID
    tenant_id: uuid.UUID
    kind: JobKind
    fence: int
    attempt: int
    worker: str
    dataset_id: uuid.UUID | None
    registered_model_id: uuid.UUID | None
    method: str | None
    base_version_id: uuid.UUID | None
    approved: bool
    http_request_id: str | None

    @property
    def actor(self) -> str:
        return f"worker:{self.worker}"


class LeaseLost(Exception):
    """Another attempt may own the job by now: this one must stop, and write nothing."""


def lease_end(seconds: float) -> ColumnElement[datetime]:
    """`seconds` from now by the database's clock: the only clock that all workers share. Not now(), which
    is when the transaction began: it may have waited for a lock since."""
    return func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def held_job(session: Session, claim: Claim) -> Job:
    """The claimed job, its row locked: every transaction that acts for an attempt begins here.

    Raises `LeaseLost` unless this attempt still holds the job.
    """
    job = session.scalar(
        select(Job)
        .where(
            Job.id == claim.job_id,
            Job.fence == claim.fence,
            Job.status.in_(ACTIVE),
            Job.lease_expires_at > func.clock_timestamp(),
        )
        .with_for_update(key_share=True)
    )
    if job is None:
        raise LeaseLost(f"attempt {claim.attempt} no longer holds job {claim.job_id}")
    return job
