"""audit: the log of who did what."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from lethe.answers import SealedEntry
from lethe.commands.checking import verify_audit
from lethe.commands.requesting import keep
from lethe.commands.speaking import AsJson, Commands, Most, Profile, connected, show_table

HELP = "The audit log (scope audit:read)."


def list_entries(
    after: Annotated[int, typer.Option(min=0, help="Only what came after this position")] = 0,
    most: Most = 20,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Who did what, the oldest first."""
    with connected(profile, as_json) as (client, speaker):
        listed = client.list_audit_entries(after=after, most=most)
        speaker.show({"data": listed}, lambda out: _show(out, listed))


def checkpoint(
    output: Annotated[Path | None, typer.Option(help="Keep it in this file, for verify --checkpoint")] = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """The newest signature under the log. Keep some elsewhere: they show that its end was not cut off."""
    with connected(profile, as_json) as (client, speaker):
        keep(client.audit_checkpoint(), output, speaker)


def export(
    output: Annotated[Path, typer.Option(help="Where to")] = Path("audit-log.jsonl"),
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Fetch all that is signed of the log; `lethe audit verify` checks it."""
    with connected(profile, as_json) as (client, speaker):
        file = client.export_audit(output)
        told = {"file": str(file), "size": file.stat().st_size}
        speaker.show(told, lambda out: out.print(str(file), markup=False))


def _show(out: Console, entries: list[SealedEntry]) -> None:
    rows = [
        (
            each.position,
            each.entry.at[:19],
            each.entry.actor,
            each.entry.action,
            each.entry.subject,
            msgspec.json.encode(each.entry.data).decode(),
        )
        for each in entries
    ]
    show_table(out, ("position", "at", "actor", "action", "subject", "data"), rows, "There are no entries.")


COMMANDS: Commands = {
    "list": list_entries,
    "checkpoint": checkpoint,
    "export": export,
    "verify": verify_audit,
}
