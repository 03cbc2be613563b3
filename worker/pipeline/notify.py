"""Notify: what the world learns of a publication, written in the publication's own transaction.

Requests and the job tell of themselves as they are settled, and so is the model's next job woken; the
relay passes that on after the commit.
"""

from typing import Any

from sqlalchemy.orm import Session

from app.core.audit import audit_entry, event
from models import Artifact, ModelVersion


def tell_of_version(
    session: Session, actor: str, version: ModelVersion, superseded: ModelVersion | None = None
) -> None:
    """The history of the model and its versions, and the audit log."""
    artifact = session.get_one(Artifact, version.artifact_id)
    digest = f"sha256:{artifact.sha256.hex()}" if artifact.sha256 else None
    told: dict[str, Any] = {"version": version.number, "digest": digest}
    session.execute(event(version.tenant_id, version.id, "version.published", **told))
    session.execute(event(version.tenant_id, version.registered_model_id, "model.version_published", **told))
    if superseded is not None:
        session.execute(event(version.tenant_id, superseded.id, "version.superseded", by=str(version.id)))
    session.execute(audit_entry(version.tenant_id, actor, "version.published", version.id, **told))
