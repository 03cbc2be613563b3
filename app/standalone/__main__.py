"""`python -m app.standalone`: run the embedded deployment until Ctrl-C or SIGTERM."""

import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from app.standalone.announcement import announcement, write_ready_file
from app.standalone.deployment import EmbeddedDeployment
from app.standalone.ports import LOOPBACK
from app.standalone.refusals import StandaloneError
from app.standalone.stop_signals import Stopped, raise_on_stop_signals


def run(
    data_dir: Annotated[
        Path, typer.Option(help="Everything is kept here; a second start continues where the first stopped.")
    ] = Path("var/lethe"),
    host: Annotated[
        str, typer.Option(help="Address that the API listens at. The servers stay on loopback.")
    ] = LOOPBACK,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the API; 0 takes any free one.")
    ] = 8000,
    workers: Annotated[
        int, typer.Option(min=0, help="Worker processes, each running one job at a time.")
    ] = 1,
    allow_root: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder from which datasets and checkpoints may be named by URL, besides DATA_DIR/data; "
            "may be repeated, and holds for later starts too."
        ),
    ] = None,
    postgres_bin: Annotated[
        Path | None,
        typer.Option(help="Folder with PostgreSQL's programs, instead of the wheel's or those on the PATH."),
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(help="Written (JSON: url, pid, data_dir) once the API is ready; removed at the end."),
    ] = None,
) -> None:
    """Run Lethe on this machine: PostgreSQL, Redis, API, relay and workers, all data in one folder.

    On the first start it prints an API key, once. Ctrl-C stops everything; a second Ctrl-C kills what is
    still busy (a job that was running is taken up again at the next start).
    """
    if sys.platform != "linux":
        print(
            "The embedded deployment runs on Linux only; elsewhere use docker-compose.yml.", file=sys.stderr
        )
        raise typer.Exit(1)
    deployment = EmbeddedDeployment(
        data_dir,
        host=host,
        port=port,
        workers=workers,
        allowed_roots=allow_root or [],
        postgres_binaries=postgres_bin,
        say=_say,
    )
    raise_on_stop_signals(deployment.hurry)
    try:
        print("Starting PostgreSQL, Redis, API, relay and workers ...", flush=True)
        deployment.start()
        print(announcement(deployment), flush=True)
        if ready_file is not None:
            write_ready_file(ready_file, deployment)
        threading.Event().wait()
    except Stopped:
        print("Stopping ...", flush=True)
    except (StandaloneError, OSError) as error:
        print(error, file=sys.stderr, flush=True)
        raise typer.Exit(1) from error
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
        deployment.stop()


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(run)
    app(prog_name="python -m app.standalone")
