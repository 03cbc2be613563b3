"""datasets: registering training data, and what is registered."""

from typing import Annotated

import typer
from rich.console import Console

from lethe.answers import Dataset
from lethe.commands.speaking import AsJson, Commands, Most, Profile, connected, end_registered, show_table

HELP = "Registered training data."
DatasetName = Annotated[str, typer.Argument(metavar="DATASET", help="Name or id of the data set")]


def register(
    name: Annotated[str, typer.Argument(help="What it shall be called")],
    url: Annotated[str, typer.Argument(help="Where it lies: below a root that the operator listed")],
    holdout: Annotated[str | None, typer.Option(help="URL of data that no network has learned from")] = None,
    format: Annotated[str, typer.Option(help="How it is stored")] = "arrays",
    refreshes: Annotated[
        str | None, typer.Option(help="The data set that this is a newer snapshot of")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until it was checked")] = False,
    timeout: Annotated[float | None, typer.Option(help="With --wait: seconds at most")] = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Register training data by URL; the service checks it (scope models:write)."""
    with connected(profile, as_json) as (client, speaker):
        made = client.register_dataset(name, url, holdout_url=holdout, format=format, refreshes=refreshes)
        if wait:
            made = client.wait_for_dataset(str(made.id), timeout=timeout)
        speaker.show(made, lambda out: _show(out, made))
        end_registered(made.status)


def list_datasets(most: Most = 20, profile: Profile = None, as_json: AsJson = False) -> None:
    """The newest first."""
    with connected(profile, as_json) as (client, speaker):
        listed = client.list_datasets(most=most)
        rows = [(each.name, each.status, each.format, each.instance_count, each.url) for each in listed]
        columns = ("data set", "status", "format", "instances", "url")
        speaker.show({"data": listed}, lambda out: show_table(out, columns, rows, "There are no data sets."))


def show(dataset: DatasetName, profile: Profile = None, as_json: AsJson = False) -> None:
    """A data set, and what was found when it was checked."""
    with connected(profile, as_json) as (client, speaker):
        found = client.get_dataset(dataset)
        speaker.show(found, lambda out: _show(out, found))


def _show(out: Console, dataset: Dataset) -> None:
    lines = [f"{dataset.name}  {dataset.status}", f"  {dataset.format} at {dataset.url}"]
    if dataset.holdout_url is not None:
        lines.append(f"  holdout at {dataset.holdout_url}")
    if dataset.instance_count is not None:
        lines.append(f"  {dataset.instance_count} instances, {dataset.holdout_count or 0} held out")
    if dataset.error_detail:
        lines.append(f"  {dataset.error_code}: {dataset.error_detail}")
    out.print("\n".join(lines), markup=False)


COMMANDS: Commands = {"register": register, "list": list_datasets, "show": show}
