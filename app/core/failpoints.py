"""Named places at which a process can be made to die: off unless LETHE_FAILPOINTS names a folder.

A unit of work `claim` has the places `claim.before-commit` and `claim.after-commit`; a kind of artifact has
`checkpoint.before-put`, `checkpoint.after-put`, `checkpoint.before-delete` and `checkpoint.after-delete`.
A file of that name in the folder arms the place: the first process that comes by removes the file and kills
itself, as the power going out would. `make chaos` does so.
"""

import contextlib
import os
import signal
from pathlib import Path

COMMITS = (
    "post",
    "upload",
    "claim",
    "phase",
    "device",
    "artifact",
    "snapshot",
    "rung",
    "publish",
    "validation",
    "settle",
    "discard",
    "outbox",
    "reclaim",
    "delivery-taken",
    "delivery-ended",
)
ARTIFACTS = ("checkpoint", "snapshot")
FAILPOINTS = tuple(
    [f"{unit}.{side}-commit" for unit in COMMITS for side in ("before", "after")]
    + [
        f"{kind}.{side}-{call}"
        for kind in ARTIFACTS
        for call in ("put", "delete")
        for side in ("before", "after")
    ]
)

_folder = os.environ.get("LETHE_FAILPOINTS")
ARMED = _folder is not None
"""Looked at before a place is named, so that a service without failpoints does nothing at all."""


def reach(name: str) -> None:
    """Die here if this place is armed."""
    if _folder is None:
        return
    with contextlib.suppress(FileNotFoundError):
        (Path(_folder) / name).unlink()
        os.kill(os.getpid(), signal.SIGKILL)
