"""Bytes that a run stores. The row comes first and the bytes after it; the row stays `pending` until a
transaction refers to it, so that a crash leaves at most an artifact that the relay removes."""

import uuid
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.core.database import transaction
from app.core.discarding import discard_artifact
from app.core.storage import Storage, Written
from models import Artifact, time_ordered_id
from models.states import ArtifactState
from worker.jobs.lease import Claim, held_job


def store_file(
    sessions: sessionmaker[Session],
    storage: Storage,
    claim: Claim,
    kind: str,
    file: Path,
    check: Callable[[], None],
) -> tuple[uuid.UUID, Written]:
    """Write a file to storage as a pending artifact of the claimed job: an artifact of this attempt's own,
    so that one which has lost its lease overwrites nothing. `check` is called now and then, and may raise.
    Raises `LeaseLost`."""
    artifact_id = time_ordered_id()
    path = f"{claim.tenant_id}/{kind}/{artifact_id}"
    with transaction(sessions, "artifact") as session:
        held_job(session, claim)
        session.add(
            Artifact(id=artifact_id, tenant_id=claim.tenant_id, kind=kind, path=path, job_id=claim.job_id)
        )
    return artifact_id, storage.put_file(path, file, check)


def mark_stored(session: Session, artifact_id: uuid.UUID, written: Written) -> None:
    """In the transaction that refers to it. The row is locked, so that no sweep removes it meanwhile."""
    artifact = session.scalars(
        select(Artifact)
        .where(Artifact.id == artifact_id, Artifact.state == ArtifactState.PENDING)
        .with_for_update()
    ).one()
    artifact.sha256, artifact.size = written.sha256, written.size
    artifact.key_store = written.key_store
    artifact.state = ArtifactState.STORED


def discard_pending(sessions: sessionmaker[Session], storage: Storage, artifact_id: uuid.UUID) -> None:
    """Remove what this run stored and nobody came to refer to. When the relay has given it up meanwhile, its
    bytes may have arrived after that, so they are removed once more."""
    with transaction(sessions, "discard") as session:
        if discard_artifact(session, storage, artifact_id, only=ArtifactState.PENDING):
            return
        artifact = session.get_one(Artifact, artifact_id)
        if artifact.state == ArtifactState.DELETED:
            storage.delete(artifact.path)
