"""The audit log: to read, to keep, to have checked by `lethe verify-audit`."""

import os
from pathlib import Path
from typing import BinaryIO

from lethe.answers import SealedEntry
from lethe.calls.listing import Page, all_of
from lethe.errors import UnexpectedAnswer
from lethe.plan import Answer, Exchange, Outgoing, Plan, ask

AUDIT = "/v1/audit"


class _Export:
    """An export in the making. It cannot be taken up in the middle: another attempt begins anew."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.begun = False

    def kept(self) -> int:
        return 0

    def attempt(self) -> Outgoing:
        return Outgoing("GET", f"{AUDIT}/export")

    def open(self, answer: Answer) -> BinaryIO | None:
        self.begun = answer.status == 200
        return self.file.open("wb") if self.begun else None


def list_audit_entries(*, after: int = 0, most: int = 100) -> Plan[list[SealedEntry]]:
    """Who did what, the oldest first, from the position after `after` on."""
    return all_of(AUDIT, Page[SealedEntry], most, place="position", after=after)


def audit_checkpoint() -> Plan[bytes]:
    """The newest signature under the log. Keep some elsewhere: they show that its end was not cut off."""
    return (yield from ask(Exchange(Outgoing("GET", f"{AUDIT}/checkpoint")))).body


def export_audit(target: Path | str) -> Plan[Path]:
    """Write all that is signed of the log to `target`, which gets its name when all of it is there."""
    target = Path(target)
    export = _Export(target.with_name(f"{target.name}.part"))
    yield from ask(export)
    if not export.begun:
        raise UnexpectedAnswer("The service did not send its audit log; nothing was written.")
    with export.file.open("rb") as content:
        os.fsync(content.fileno())
    return export.file.replace(target)
