"""What all commands have: which service, which form of output, and how they end."""

import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec
import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console

from lethe import errors
from lethe.answers import DeletionRequest
from lethe.client import Client, Moved
from lethe.configuration import configuration_file, is_open_to_others
from lethe.versions import disagreement

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, nothing else")]
Profile = Annotated[str | None, typer.Option(help="Which profile of the configuration file")]
Most = Annotated[int, typer.Option(min=1, help="How many at most")]
Reason = Annotated[str, typer.Option(help="Why; it is kept, and goes into the audit log")]
Commands = dict[str, Callable[..., None]]

FAILED, USAGE, ENDED_BADLY, WAITS_FOR_A_PERSON, AWAY, KEY, STILL_RUNNING = range(1, 8)
_HINTS = {
    "api_key_missing": "Set LETHE_API_KEY, or api_key in the configuration file.",
    "api_key_invalid": "Is it the key of this service, and whole? It looks like lethe_<id>_<secret>.",
    "unknown_path": "Is the address the service's own, without a path?",
}


@dataclass(frozen=True)
class Speaker:
    """Where things are said: `out` for what was asked for, `err` for what is going on."""

    as_json: bool
    out: Console
    err: Console

    def document(self, value: Any) -> None:
        write_document(value)

    def show(self, value: Any, tell: Callable[[Console], None]) -> None:
        if self.as_json:
            self.document(value)
        else:
            tell(self.out)


def write_document(value: Any) -> None:
    """The one document of --json."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


@contextmanager
def speaking(as_json: bool) -> Iterator[Speaker]:
    """Errors of the client end the command with their sentence and their exit status."""
    speaker = Speaker(
        as_json, Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False)
    )
    try:
        yield speaker
    except errors.LetheError as error:
        _tell(error, speaker)
        raise typer.Exit(_status(error)) from None
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        _tell(errors.LetheError(f"{name}{error.strerror or error}."), speaker)
        raise typer.Exit(FAILED) from None


@contextmanager
def connected(
    profile: str | None, as_json: bool, moved: Moved | None = None
) -> Iterator[tuple[Client, Speaker]]:
    with speaking(as_json) as speaker:
        if is_open_to_others(file := configuration_file()):
            _warn(speaker, f"Others on this machine may read {file}: chmod 600 it.")
        with Client(profile=profile, moved=moved) as client:
            try:
                yield client, speaker
            finally:
                if (sentence := disagreement(client.server_version)) is not None:
                    _warn(speaker, sentence)


def identifier(text: str, of: str) -> str:
    """Raises `BadParameter`."""
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not the id of a {of}") from error


def show_table(out: Console, columns: Sequence[str], rows: Sequence[Sequence[object]], nothing: str) -> None:
    """Nothing is cut to fit the window: ids are there to be copied, lines to be searched. `nothing`: what is
    said in place of an empty table."""
    lines = [list(columns), *(["" if cell is None else str(cell) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(map(set_cell_size, line, widths)).rstrip() for line in lines]
    out.print("\n".join(text) if rows else nothing, markup=False)


def day(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d}"


def end_with(request: DeletionRequest) -> None:
    """The exit status of a request that was waited for."""
    if request.status in ("awaiting_approval", "needs_review"):
        raise typer.Exit(WAITS_FOR_A_PERSON)
    if request.status != "succeeded":
        raise typer.Exit(ENDED_BADLY)


def end_registered(status: str) -> None:
    """The exit status of what was registered: its checks said no."""
    if status == "rejected":
        raise typer.Exit(ENDED_BADLY)


def _tell(error: errors.LetheError, speaker: Speaker) -> None:
    hint = ""
    if isinstance(error, errors.Problem):
        hint = _HINTS.get(error.code, "")
        if speaker.as_json:
            told = {"code": error.code, "title": error.title, "status": error.status, "detail": error.detail}
            speaker.document({"error": error.members | told})
    elif speaker.as_json:
        speaker.document({"error": {"code": _code(error), "detail": str(error)}})
    speaker.err.print("[bold red]lethe:[/]", end=" ")
    speaker.err.print(f"{error} {hint}".strip(), markup=False, soft_wrap=True)


def _code(error: errors.LetheError) -> str:
    name = type(error).__name__
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def _warn(speaker: Speaker, sentence: str) -> None:
    speaker.err.print("[yellow]lethe:[/]", end=" ")
    speaker.err.print(sentence, markup=False, soft_wrap=True)


def _status(error: errors.LetheError) -> int:
    match error:
        case errors.Unauthenticated() | errors.Forbidden():
            return KEY
        case errors.Unreachable() | errors.Unavailable() | errors.RateLimited():
            return AWAY
        case errors.StillRunning():
            return STILL_RUNNING
        case errors.NotConfigured():
            return USAGE
    return FAILED
