"""The engine's snapshots of a run, kept as artifacts: what a later attempt resumes from."""

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from obstore.exceptions import BaseError as StorageError
from safetensors import SafetensorError
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.core.database import transaction
from app.core.logging import get_logger
from app.core.storage import NotStored, Storage, Written
from models import Artifact, Job
from worker.jobs.artifacts import mark_stored, store_file
from worker.jobs.lease import Claim, held_job
from worker.jobs.snapshot_format import read_snapshot, write_snapshot


class SnapshotStore:
    """The last snapshot of one job. The one before it, no longer referred to, is left to the relay."""

    def __init__(self, sessions: sessionmaker[Session], storage: Storage, claim: Claim, folder: Path) -> None:
        self._sessions = sessions
        self._storage = storage
        self._claim = claim
        self._file = folder / "snapshot.safetensors"
        self._resumed_from: uuid.UUID | None = None
        self._log = get_logger(__name__)

    @property
    def resumed_from(self) -> uuid.UUID | None:
        """The snapshot that this attempt began with, as long as it has not got beyond it."""
        return self._resumed_from

    def save(self, snapshot: Mapping[str, Any], check: Callable[[], None]) -> None:
        """Store it and point the job at it. Without room for it, or while the database is away, the run goes
        on: it costs the next attempt time, and nothing else. Raises `LeaseLost`, and what `check` raises."""
        try:
            write_snapshot(snapshot, self._file)
            artifact_id, written = store_file(
                self._sessions, self._storage, self._claim, "snapshot", self._file, check
            )
            self._refer_to(artifact_id, written)
        except (OSError, SafetensorError, StorageError, OperationalError) as error:
            self._log.warning("snapshot_not_stored", error=type(error).__name__)
            return
        finally:
            self._file.unlink(missing_ok=True)
        self._resumed_from = None
        self._log.info("snapshot_stored", size=written.size)

    def load(self, check: Callable[[], None]) -> Mapping[str, Any] | None:
        """The last snapshot, if there is one and its bytes are the ones that were stored. Raises what `check`
        raises."""
        with transaction(self._sessions) as session:
            job = session.get_one(Job, self._claim.job_id)
            artifact = session.get(Artifact, job.snapshot_artifact_id) if job.snapshot_artifact_id else None
            if artifact is None:
                return None
            artifact_id, path, digest = artifact.id, artifact.path, artifact.sha256
        try:
            written = self._storage.copy_to(path, self._file, check)
            if written.sha256 != digest:
                self._log.warning("snapshot_damaged")
                return None
            self._resumed_from = artifact_id
            return read_snapshot(self._file)
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            # Of another version of this program, say: then the run begins anew.
            self._log.warning("snapshot_unreadable", error=type(error).__name__)
            return None
        except NotStored:
            self._log.warning("snapshot_vanished")
            return None
        finally:
            self._file.unlink(missing_ok=True)

    def _refer_to(self, artifact_id: uuid.UUID, written: Written) -> None:
        with transaction(self._sessions, "snapshot") as session:
            job = held_job(session, self._claim)
            mark_stored(session, artifact_id, written)
            session.flush()
            job.snapshot_artifact_id = artifact_id
