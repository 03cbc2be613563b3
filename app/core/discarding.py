"""Removing stored bytes that nothing refers to."""

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.storage import Storage
from models import Artifact
from models.states import ArtifactState


def discard_artifact(
    session: Session, storage: Storage, artifact_id: uuid.UUID, *, only: ArtifactState
) -> bool:
    """Delete an artifact's bytes, then mark its row deleted; False when it is in another state by now.

    The row stays locked while the bytes go, so that nobody can come to refer to them meanwhile: whoever
    publishes an artifact moves its row on from `pending` in the transaction that refers to it. When the
    transaction fails after the bytes are gone, the row is still there for the next sweep.
    """
    artifact = session.scalar(
        select(Artifact).where(Artifact.id == artifact_id, Artifact.state == only).with_for_update()
    )
    if artifact is None:
        return False
    storage.delete(artifact.path)
    artifact.state = ArtifactState.DELETED
    return True
