"""What nothing refers to any more is removed: bytes of runs that came to nothing, old keys, sent messages."""

import uuid

from obstore.exceptions import BaseError as StorageError
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.database import transaction
from app.core.discarding import discard_artifact
from app.core.logging import get_logger
from app.core.storage import Storage
from models.states import ArtifactState

BATCH = 1000
ARTIFACTS = 20
LISTS = 10  # each may hold a hundred thousand instances

_UNREFERENCED = """
  NOT EXISTS (SELECT FROM model_versions AS version WHERE version.artifact_id = artifact.id)
  AND NOT EXISTS (
    SELECT FROM jobs AS job
    WHERE artifact.id IN (job.candidate_artifact_id, job.snapshot_artifact_id)
      AND job.tenant_id = artifact.tenant_id AND (
        job.status NOT IN ('succeeded', 'failed', 'cancelled') OR EXISTS (
          SELECT FROM legal_holds AS hold
          WHERE hold.registered_model_id = job.registered_model_id AND hold.version_id IS NULL
            AND hold.lifted_at IS NULL
        )
      )
  )
"""
# Stored bytes come to be referred to in the transaction that marks them as stored: unreferenced ones are
# superseded snapshots, or belong to a job that is over. What a job was left with a hold on its model keeps.
_STORED = f"""
SELECT artifact.id FROM artifacts AS artifact WHERE artifact.state = 'stored' AND {_UNREFERENCED}
"""  # noqa: S608 (a constant of this file)
_STORED_ORPHANS = text(_STORED + " ORDER BY artifact.id LIMIT :limit")
_STILL_AN_ORPHAN = text(_STORED + " AND artifact.id = :id")
# As whoever places a hold: what is being removed at this moment is removed, or under the hold.
_LOCK_MODEL = text("""
SELECT id FROM registered_models WHERE id IN (
  SELECT registered_model_id FROM jobs WHERE :id IN (candidate_artifact_id, snapshot_artifact_id)
) FOR NO KEY UPDATE
""")
# Pending ones may be on their way. A run's are over when a newer attempt has begun, or none is under way,
# for a while: whoever wrote them has long noticed. An upload takes as long as its client does.
_PENDING_ORPHANS = text(f"""
SELECT artifact.id FROM artifacts AS artifact
LEFT JOIN jobs AS writer ON writer.id = artifact.job_id
WHERE artifact.state = 'pending' AND {_UNREFERENCED}
  AND artifact.created_at < now() - make_interval(
    secs => CASE WHEN artifact.job_id IS NULL THEN :upload_grace ELSE :grace END)
  AND (writer.id IS NULL OR writer.status NOT IN ('running', 'cancelling') OR EXISTS (
    SELECT FROM attempts AS attempt
    WHERE attempt.job_id = writer.id AND attempt.created_at > artifact.created_at
  ))
ORDER BY artifact.id LIMIT :limit
""")  # noqa: S608 (a constant of this file)

_OLD_KEYS = text("""
DELETE FROM idempotency_keys WHERE (tenant_id, key) IN (
  SELECT tenant_id, key FROM idempotency_keys
  WHERE created_at < now() - make_interval(hours => :hours) LIMIT :batch FOR UPDATE SKIP LOCKED
)
""")
# Requests that named a list keep their instances: a list is for what is sent soon after it.
_OLD_LISTS = text("""
DELETE FROM instance_lists WHERE id IN (
  SELECT id FROM instance_lists
  WHERE created_at < now() - make_interval(secs => 86400 * CAST(:days AS double precision))
  ORDER BY id LIMIT :batch
)
""")
_SENT_MESSAGES = text("""
DELETE FROM outbox WHERE id IN (
  SELECT id FROM outbox WHERE sent_at < now() - interval '1 hour'
  ORDER BY id LIMIT :batch FOR UPDATE SKIP LOCKED
)
""")


def remove_orphans(
    sessions: sessionmaker[Session], storage: Storage, grace: float, upload_grace: float
) -> int:
    """Delete the bytes, then mark the row, of some artifacts that nobody can come to refer to any more; how
    many that were. `grace`: seconds that a run which lost its job may still be writing; `upload_grace`: that
    an upload may take."""
    pending = {"limit": ARTIFACTS, "grace": grace, "upload_grace": upload_grace}
    with transaction(sessions) as session:
        found = [
            (artifact_id, ArtifactState.STORED)
            for artifact_id in session.scalars(_STORED_ORPHANS, {"limit": ARTIFACTS})
        ]
        found += [
            (artifact_id, ArtifactState.PENDING) for artifact_id in session.scalars(_PENDING_ORPHANS, pending)
        ]
    return sum(_remove(sessions, storage, artifact_id, state) for artifact_id, state in found)


def remove_old_rows(
    sessions: sessionmaker[Session], idempotency_hours: int, instance_list_days: float
) -> None:
    """Answers that no client asks for again, instance lists, and messages that were sent: some of each."""
    with transaction(sessions) as session:
        session.execute(_OLD_LISTS, {"days": instance_list_days, "batch": LISTS})
    with transaction(sessions) as session:
        session.execute(_OLD_KEYS, {"hours": idempotency_hours, "batch": BATCH})
    with transaction(sessions) as session:
        session.execute(_SENT_MESSAGES, {"batch": BATCH})


def _remove(
    sessions: sessionmaker[Session], storage: Storage, artifact_id: uuid.UUID, state: ArtifactState
) -> bool:
    log = get_logger(__name__).bind(artifact_id=str(artifact_id))
    try:
        with transaction(sessions, "discard") as session:
            session.execute(_LOCK_MODEL, {"id": artifact_id})
            if (
                state == ArtifactState.STORED
                and session.scalar(_STILL_AN_ORPHAN, {"id": artifact_id}) is None
            ):
                return False
            removed = discard_artifact(session, storage, artifact_id, only=state)
    except (StorageError, OSError) as error:
        log.warning("artifact_not_removed", error=type(error).__name__)
        return False
    if removed:
        log.info("artifact_removed", state=state.value)
    return removed
