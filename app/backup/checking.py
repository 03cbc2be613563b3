"""Whether what is served is what was published."""

from collections.abc import Iterator, Mapping

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.storage import Damaged, NotStored, Storage

_SERVED = text("""
SELECT model.name, version.number, artifact.path, artifact.sha256
FROM model_versions AS version
JOIN registered_models AS model ON model.id = version.registered_model_id
JOIN artifacts AS artifact ON artifact.id = version.artifact_id
WHERE version.state IN ('published', 'superseded') AND artifact.state = 'stored'
ORDER BY model.name, version.number
""")


def damaged_versions(sessions: sessionmaker[Session], storage: Storage) -> Iterator[str]:
    """A sentence for each version whose bytes are gone or are not those with the digest."""
    with sessions() as session:
        served = session.execute(_SERVED).all()
    for row in served:
        try:
            found = storage.measure(row.path).sha256
        except NotStored:
            yield f"Version {row.number} of {row.name} has no bytes at {row.path}."
            continue
        except Damaged:
            found = None
        if found != bytes(row.sha256):
            yield f"The bytes of version {row.number} of {row.name} at {row.path} are damaged."


def damaged_copies(copies: Storage, versions: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    """Path and state of each version (path → SHA-256 of its content) that the copies do not have whole."""
    for path, digest in versions.items():
        try:
            found = copies.measure(path).sha256
        except NotStored:
            yield path, "is gone"
            continue
        except Damaged:
            found = None
        if found != digest:
            yield path, "is damaged"
