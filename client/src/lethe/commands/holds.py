"""holds: legal holds, which keep versions from being withdrawn and deleted."""

from typing import Annotated

import typer
from rich.console import Console

from lethe.answers import Hold
from lethe.commands.speaking import AsJson, Commands, Profile, Reason, connected, day, identifier, show_table
from lethe.commands.versions import ModelName

HELP = "Legal holds (scope admin)."


def list_holds(model: ModelName, profile: Profile = None, as_json: AsJson = False) -> None:
    """The newest first, lifted ones included."""
    with connected(profile, as_json) as (client, speaker):
        listed = client.list_holds(model)
        speaker.show({"data": listed}, lambda out: _show(out, listed))


def place(
    model: ModelName,
    reason: Reason,
    version: Annotated[int | None, typer.Option(min=1, help="Without it, all of the model")] = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Keep a version, or all of a model's, until the hold is lifted."""
    with connected(profile, as_json) as (client, speaker):
        found = client.place_hold(model, reason=reason, version=version)
        speaker.show(found, lambda out: _show(out, [found]))


def lift(
    model: ModelName,
    hold: Annotated[str, typer.Argument(metavar="HOLD", help="Its id")],
    reason: Reason,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """The clock goes on from where it stood."""
    with connected(profile, as_json) as (client, speaker):
        found = client.lift_hold(model, identifier(hold, "hold"), reason=reason)
        speaker.show(found, lambda out: _show(out, [found]))


def _show(out: Console, holds: list[Hold]) -> None:
    rows = [
        (
            each.id,
            each.version or "all",
            each.reason,
            each.placed_by,
            day(each.placed_at),
            day(each.lifted_at),
        )
        for each in holds
    ]
    columns = ("hold", "version", "reason", "by", "placed", "lifted")
    show_table(out, columns, rows, "There are no holds.")


COMMANDS: Commands = {"list": list_holds, "place": place, "lift": lift}
