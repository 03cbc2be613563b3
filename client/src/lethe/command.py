"""The command `lethe`.

With `--json` a command writes one JSON document to standard output and nothing else; what is meant for people
goes to standard error. Exit status:

    0    done                                   5    the service cannot be reached, or is away
    1    it said no, or a check failed          6    the key is missing, wrong, or lacks a scope
    2    badly written or not configured         7    the time of --timeout is over; the request goes on
    3    the request failed or was cancelled    130  interrupted
    4    the request waits for a person
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from lethe.commands import (
    audit,
    checking,
    datasets,
    holds,
    jobs,
    keys,
    looking,
    models,
    opendsr,
    requesting,
    versions,
    webhooks,
)
from lethe.commands.speaking import write_document
from lethe.versions import CLIENT_VERSION

app = typer.Typer(
    name="lethe",
    help="Request deletions from a Lethe service, follow them, and check what it signed.",
    epilog="The service is named by LETHE_URL and LETHE_API_KEY, or by ~/.config/lethe/config.toml.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they would show what is in variables
)
for module in (requesting, looking, versions, checking):
    for name, command in module.COMMANDS.items():
        app.command(name)(command)
for group_name, group in {
    "datasets": datasets,
    "models": models,
    "holds": holds,
    "jobs": jobs,
    "keys": keys,
    "webhooks": webhooks,
    "audit": audit,
    "opendsr": opendsr,
}.items():
    within = typer.Typer(help=group.HELP, no_args_is_help=True)
    for name, command in group.COMMANDS.items():
        within.command(name)(command)
    app.add_typer(within, name=group_name)


def _say_version(asked: bool) -> None:
    if asked:
        print(CLIENT_VERSION)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="This client's version")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    sent = sys.argv[1:] if arguments is None else list(arguments)
    try:
        app(args=sent, prog_name="lethe")
    except SystemExit as end:
        # What is badly written has been told to people by then; `format_message` is that of such an error.
        if "--json" in sent and (told := getattr(end.__context__, "format_message", None)) is not None:
            write_document({"error": {"code": "badly_written", "detail": told()}})
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:  # of `lethe … | head`
        sys.stderr.close()
        return 1
    return 0
