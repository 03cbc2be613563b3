"""keys: API keys, for administrators."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from lethe.answers import APIKey, CreatedAPIKey
from lethe.commands.speaking import (
    AsJson,
    Commands,
    Most,
    Profile,
    Speaker,
    connected,
    day,
    identifier,
    show_table,
)

HELP = "API keys of your tenant (scope admin)."

KeyId = Annotated[str, typer.Argument(metavar="ID", help="As `lethe keys list` shows it")]


def list_keys(most: Most = 20, profile: Profile = None, as_json: AsJson = False) -> None:
    """The newest first, without their secrets."""
    with connected(profile, as_json) as (client, speaker):
        listed = client.list_keys(most=most)
        speaker.show({"data": listed}, lambda out: _show(out, listed))


def create(
    name: Annotated[str, typer.Argument(help="Whose it is, or what for")],
    scope: Annotated[
        list[str],
        typer.Option(
            help="requests:write, requests:read, models:write, models:read, audit:read, admin; repeatable"
        ),
    ],
    expires_in_days: Annotated[int | None, typer.Option(min=1, help="Without it, it never expires")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="The only models that it is for; repeatable")
    ] = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is written to standard output, this once."""
    with connected(profile, as_json) as (client, speaker):
        made = client.create_key(name, scope, models=model or None, expires_in_days=expires_in_days)
        _show_made(speaker, made)


def rotate(
    key: KeyId,
    overlap_hours: Annotated[
        int, typer.Option(min=0, help="How long the old one still opens; 0 for one that few use")
    ] = 24,
    expires_in_days: Annotated[
        int | None, typer.Option(min=1, help="Without it, for as long as the old one was made for")
    ] = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Make a key in another's place. It is written to standard output, this once."""
    with connected(profile, as_json) as (client, speaker):
        old = identifier(key, "key")
        made = client.rotate_key(old, overlap_hours=overlap_hours, expires_in_days=expires_in_days)
        _show_made(speaker, made)


def revoke(
    key: KeyId,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key, at once and for good."""
    with connected(profile, as_json) as (client, speaker):
        found = client.revoke_key(identifier(key, "key"))
        speaker.show(found, lambda out: _show(out, [found]))


def _show_made(speaker: Speaker, made: CreatedAPIKey) -> None:
    speaker.show(made, lambda out: out.print(made.key, markup=False))
    if not speaker.as_json:
        speaker.err.print(
            f"Keep it: it is shown this once. Its id is {made.id}.", markup=False, soft_wrap=True
        )


def _show(out: Console, keys: list[APIKey]) -> None:
    rows = [
        (each.id, each.name, ", ".join(each.scopes), _state(each), day(each.last_used_at)) for each in keys
    ]
    show_table(out, ("id", "name", "scopes", "state", "last used"), rows, "There are no keys.")


def _state(key: APIKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {day(key.revoked_at)}"
    if key.expires_at is None:
        return "valid"
    return ("expired" if key.expires_at <= datetime.now(UTC) else "valid until") + f" {day(key.expires_at)}"


COMMANDS: Commands = {"list": list_keys, "create": create, "rotate": rotate, "revoke": revoke}
