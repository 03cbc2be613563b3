"""What becomes of superseded versions: withdrawn, then deleted, by the clock of their model's policy.

The head, what an alias points at, and what an unfinished job starts from (a candidate in review included)
stay as they are. So does what is under a legal hold, and the time under a hold does not count. Of a destroyed
model all goes at once. One relay at a time; a version is one transaction, and one that was interrupted is
done again: removing bytes twice is no error. Rows, digests and reports stay.
"""

import uuid
from collections.abc import Callable
from typing import Any

from obstore.exceptions import BaseError as StorageError
from sqlalchemy import exists, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.core import settling
from app.core.audit import audit_entry, event
from app.core.database import transaction
from app.core.logging import get_logger
from app.core.storage import Storage
from app.relay.locking import lock_one_job
from models import Artifact, Job, ModelVersion, RegisteredModel
from models.states import TERMINAL, ArtifactState, ModelStatus, VersionState

ACTOR = "relay"
AT_ONCE = 100
DESTROYED = "The model was destroyed, with everything that it had learned. Nothing is left to forget."

_ONLY_ONE = text("SELECT pg_try_advisory_xact_lock(hashtext('lethe life of versions'))")
_UNDER_HOLD = """
  EXISTS (
    SELECT FROM legal_holds AS hold
    WHERE hold.registered_model_id = version.registered_model_id AND hold.lifted_at IS NULL
      AND (hold.version_id IS NULL OR hold.version_id = version.id)
  )
"""
# Holds may overlap: their union counts, not their sum.
_HELD_FOR = """
  (SELECT coalesce(sum(upper(span) - lower(span)), interval '0') FROM unnest((
    SELECT range_agg(tstzrange(greatest(hold.created_at, version.state_since), hold.lifted_at))
    FROM legal_holds AS hold
    WHERE hold.registered_model_id = version.registered_model_id
      AND (hold.version_id IS NULL OR hold.version_id = version.id) AND hold.lifted_at > version.state_since
  )) AS span)
"""
_NEEDED = """
  (version.id = model.head_version_id
   OR EXISTS (SELECT FROM aliases WHERE aliases.version_id = version.id)
   OR EXISTS (
     SELECT FROM jobs AS job
     WHERE job.base_version_id = version.id AND job.status NOT IN ('succeeded', 'failed', 'cancelled')
   ))
"""
_DUE = f"""
SELECT version.id, version.registered_model_id AS model_id
FROM model_versions AS version JOIN registered_models AS model ON model.id = version.registered_model_id
WHERE version.state = :state AND model.status <> 'destroyed'
  AND now() - version.state_since - {_HELD_FOR}
    >= make_interval(secs => 86400 * CAST(model.policy ->> :clock AS double precision))
  AND NOT {_UNDER_HOLD} AND NOT {_NEEDED}
"""  # noqa: S608 (constants of this file)
_OF_DESTROYED = """
SELECT version.id, version.registered_model_id AS model_id
FROM model_versions AS version JOIN registered_models AS model ON model.id = version.registered_model_id
WHERE version.state <> 'deleted' AND model.status = 'destroyed'
"""
_FIRST = " ORDER BY version.id LIMIT :limit"
_THIS = " AND version.id = :id"
# As whoever moves an alias, publishes, or places a hold: from here on nothing about the model changes.
_LOCK_MODEL = text("SELECT id FROM registered_models WHERE id = :id FOR NO KEY UPDATE")

QUARANTINE = {"state": VersionState.SUPERSEDED, "clock": "quarantine_after"}
DELETION = {"state": VersionState.QUARANTINED, "clock": "delete_after"}
_FAIL_WAITING = text("""
WITH moved AS (
  UPDATE deletion_requests r SET status = 'failed', error_code = 'model_destroyed', error_detail = :detail,
    finished_at = now(), revision = r.revision + 1
  FROM registered_models m
  WHERE m.id = r.registered_model_id AND m.status = 'destroyed' AND r.status = 'awaiting_approval'
  RETURNING r.id, r.tenant_id
), audited AS (
  INSERT INTO audit_log (tenant_id, actor, action, subject_id, data)
  SELECT tenant_id, 'relay', 'deletion_request.failed', id, '{"code": "model_destroyed"}' FROM moved
)
INSERT INTO events (tenant_id, subject_id, type, data)
SELECT tenant_id, id, 'request.failed', '{"code": "model_destroyed"}' FROM moved ORDER BY id
""")


def quarantine_versions(sessions: sessionmaker[Session]) -> int:
    """Withdraw what was superseded for long enough; how many that were."""
    return _each(sessions, _DUE, QUARANTINE, _quarantine)


def delete_versions(sessions: sessionmaker[Session], storage: Storage) -> int:
    """Remove the bytes of what was withdrawn for long enough, and of destroyed models; how many that were."""

    def delete(session: Session, version: ModelVersion) -> None:
        _delete(session, storage, version)

    return _each(sessions, _DUE, DELETION, delete) + _each(sessions, _OF_DESTROYED, {}, delete)


def settle_destroyed(sessions: sessionmaker[Session]) -> int:
    """Fail the jobs of destroyed models, and with them the requests that wait; how many jobs. What waits for
    a person's word has no job."""
    settled = 0
    while _settle_one(sessions):
        settled += 1
    with transaction(sessions) as session:
        session.execute(_FAIL_WAITING, {"detail": DESTROYED})
    return settled


def _each(
    sessions: sessionmaker[Session],
    query: str,
    bound: dict[str, str],
    change: Callable[[Session, ModelVersion], None],
) -> int:
    with transaction(sessions) as session:
        due = session.scalars(text(query + _FIRST), bound | {"limit": AT_ONCE}).all()
    return sum(_one(sessions, query, bound, version_id, change) for version_id in due)


def _one(
    sessions: sessionmaker[Session],
    query: str,
    bound: dict[str, str],
    version_id: uuid.UUID,
    change: Callable[[Session, ModelVersion], None],
) -> bool:
    """If it is still due once its model is locked. What fails does not keep the others from being done."""
    try:
        with transaction(sessions, "life") as session:
            if not session.scalar(_ONLY_ONE):
                return False
            version = session.get_one(ModelVersion, version_id)
            session.execute(_LOCK_MODEL, {"id": version.registered_model_id})
            if session.execute(text(query + _THIS), bound | {"id": version_id}).one_or_none() is None:
                return False
            session.refresh(version, with_for_update=True)
            change(session, version)
            return True
    except (StorageError, OSError, OperationalError) as error:
        get_logger(__name__).warning(
            "version_not_deleted", version_id=str(version_id), error=type(error).__name__
        )
        return False


def _quarantine(session: Session, version: ModelVersion) -> None:
    version.state = VersionState.QUARANTINED
    _tell(session, version, "quarantine")


def _delete(session: Session, storage: Storage, version: ModelVersion) -> None:
    """Bytes (and their key) first, rows after: what is interrupted in between is done once more."""
    artifact = session.get_one(Artifact, version.artifact_id, with_for_update=True)
    storage.delete(artifact.path)
    artifact.state = ArtifactState.DELETED
    version.state = VersionState.DELETED
    erased = storage.is_erased(artifact.path, artifact.key_store)
    digest = artifact.sha256.hex() if artifact.sha256 else None
    _tell(session, version, "delete", sha256=digest, key_destroyed=erased)


def _tell(session: Session, version: ModelVersion, what: str, **data: Any) -> None:
    session.flush()
    session.execute(event(version.tenant_id, version.id, f"version.{version.state}", **data))
    told: dict[str, Any] = {"model": str(version.registered_model_id), "number": version.number} | data
    session.execute(audit_entry(version.tenant_id, ACTOR, f"version.{what}", version.id, **told))
    get_logger(__name__).info(f"version_{version.state}", version_id=str(version.id))


def _settle_one(sessions: sessionmaker[Session]) -> bool:
    destroyed = exists(
        select(RegisteredModel.id).where(
            RegisteredModel.id == Job.registered_model_id, RegisteredModel.status == ModelStatus.DESTROYED
        )
    )
    with transaction(sessions) as session:
        job = lock_one_job(session, Job.status.not_in(TERMINAL), destroyed)
        if job is None:
            return False
        settling.fail(session, job, ACTOR, "model_destroyed", DESTROYED)
        return True
