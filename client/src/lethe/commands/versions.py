"""versions, download."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from lethe.answers import Version
from lethe.commands.speaking import AsJson, Commands, Most, Profile, connected, show_table

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Name or id of the model")]


def versions(
    model: ModelName,
    most: Most = 20,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """The line of a model's versions, the newest first."""
    with connected(profile, as_json) as (client, speaker):
        listed = client.list_versions(model, most=most)
        speaker.show({"data": listed}, lambda out: _show(out, listed))


def download(
    model: ModelName,
    version: Annotated[str, typer.Argument(metavar="[VERSION]", help="Number or alias")] = "latest",
    output: Annotated[Path | None, typer.Option(help="Where to [default: MODEL-vNUMBER.safetensors]")] = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a version's weights and check their digest. An interrupted download goes on where it stopped."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        disable=as_json,
    )
    line = bar.add_task("downloading", total=None)
    with connected(profile, as_json, lambda count: bar.advance(line, count)) as (client, speaker):
        described = client.get_version(model, version)
        bar.update(line, total=described.size)
        target = output or Path(f"{Path(model).name}-v{described.number}.safetensors")
        with bar:
            done = client.download(model, described.number, target)
            bar.update(line, completed=done.size)
        speaker.show(done, lambda out: out.print(f"{done.file}  {done.digest}", markup=False))


def _show(out: Console, versions: list[Version]) -> None:
    rows = [
        (
            each.number,
            each.parent,
            each.state + ", on hold" * each.on_hold,
            each.guarantee,
            f"{each.size:,}" if each.size is not None else None,
            ", ".join(each.aliases),
            (each.digest or "")[:19],
        )
        for each in versions
    ]
    columns = ("version", "from", "state", "guarantee", "bytes", "aliases", "digest")
    show_table(out, columns, rows, "The model has no versions.")


COMMANDS: Commands = {"versions": versions, "download": download}
