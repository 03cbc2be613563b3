"""signing-keys, lookup."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from lethe.answers import Lookup, SigningKey
from lethe.commands.requesting import keep
from lethe.commands.speaking import AsJson, Commands, Profile, connected, show_table
from lethe.instances import read_instances


class _Keys(msgspec.Struct):
    data: list[SigningKey]


def signing_keys(
    output: Annotated[Path | None, typer.Option(help="Keep them in this file, for verify --key")] = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """The public keys that the service signs with. Compare their ids with what its operator publishes."""
    with connected(profile, as_json) as (client, speaker):
        content = client.signing_keys()
        if output is not None:
            keep(content, output, speaker)
            return
        found = msgspec.json.decode(content, type=_Keys)
        speaker.show(found, lambda out: _show_keys(out, found.data))


def lookup(
    dataset: Annotated[str, typer.Option(help="Name or id of the data set")],
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of instances")] = None,
    instances: Annotated[Path | None, typer.Option(help="In their place: a file of ids")] = None,
    column: Annotated[
        str | None, typer.Option(help="Column (or member) of the file that holds the ids")
    ] = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Which models learned from these instances, and what was forgotten. The service records every lookup."""
    if (instances is None) == (not ids):
        raise typer.BadParameter("name the instances one by one or by --instances")
    with connected(profile, as_json) as (client, speaker):
        named = read_instances(instances, column) if instances is not None else list(ids or ())
        found = client.look_up(dataset, named)
        speaker.show(found, lambda out: _show_lookup(out, found))


def _show_keys(out: Console, keys: list[SigningKey]) -> None:
    for each in keys:
        out.print(f"{each.key_id}  {each.algorithm}, used since {each.first_used_at:%Y-%m-%d}", markup=False)


def _show_lookup(out: Console, found: Lookup) -> None:
    rows: list[tuple[object, ...]] = []
    for instance in found.data:
        if not instance.known:
            rows.append((instance.instance, None, None, "not in the data set", None, None))
        elif not instance.models:
            rows.append((instance.instance, None, None, "no model learned from it", None, None))
        for model in instance.models:
            for task in model.tasks:
                rows.append(
                    (instance.instance, model.model, task.task, task.state, task.version, task.request)
                )
    columns = ("instance", "model", "task", "state", "version", "request")
    show_table(out, columns, rows, "Nothing was looked up.")
    for each in found.descendants:
        out.print(
            f"{each.model}, fine-tuned from {each.derived_from}, remembers {len(each.instances)} of them.",
            markup=False,
        )


COMMANDS: Commands = {"signing-keys": signing_keys, "lookup": lookup}
