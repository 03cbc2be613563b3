"""Objects from one storage to another, as they lie there: what is encrypted stays encrypted."""

import tempfile
from pathlib import Path

from app.core.object_store import NotStored, ObjectStore


def copy_objects(source: ObjectStore, target: ObjectStore) -> int:
    """How many were copied. Those that are there already are left alone: objects are never changed, but for
    the journal's, of which the target's is at least as new when a backup is put back.

    One that vanishes meanwhile, because the relay sweeps, is left out: whether it was needed is for the
    caller to say.
    """
    there = set(target.list(""))
    missing = [path for path in source.list("") if path not in there]
    copied = 0
    with tempfile.TemporaryDirectory(prefix="lethe-copy-") as name:
        passing = Path(name) / "object"  # the storage cannot be read from inside of a write
        for path in missing:
            try:
                source.copy_to(path, passing)
            except NotStored:
                continue
            target.put_file(path, passing)
            copied += 1
    return copied
