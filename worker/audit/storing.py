"""The report's place: the version's own history, which no role can change, and its digest in the audit log,
which the sealer chains and signs."""

import getpass
import hashlib
import socket
import uuid
from typing import Any

from sqlalchemy.orm import Session

from app.core.audit import audit_entry, event
from app.core.canonical import canonical
from models import ModelVersion, time_ordered_id

AUDITED = "version.audited"


def store_report(session: Session, version_id: uuid.UUID, report: dict[str, Any]) -> uuid.UUID:
    """The id under which it can be read. The version's row is locked, as for every event of it."""
    version = session.get_one(ModelVersion, version_id, with_for_update=True)
    audit_id = time_ordered_id()
    digest = f"sha256:{hashlib.sha256(canonical(report)).hexdigest()}"
    data = {"audit": str(audit_id), "digest": digest}
    session.execute(event(version.tenant_id, version.id, AUDITED, **data, report=report))
    session.execute(audit_entry(version.tenant_id, actor(), AUDITED, version.id, **data))
    return audit_id


def actor() -> str:
    """Who looked, as the audit log names it: a person with a shell is no API key."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        name = "unknown"
    return f"operator:{name}@{socket.gethostname()}"
