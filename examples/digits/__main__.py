"""The main job, end to end: python -m examples.digits

Starts an embedded deployment, trains a small multi-task network on real handwritten digits, registers it
over HTTP, posts a full-task and a partial-task deletion request, shows what the new versions still know
beside a network retrained without the deleted supervision, downloads the newest version and predicts
with it. Stops everything it started, however it ends.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console

from app.standalone.deployment import EmbeddedDeployment
from app.standalone.refusals import StandaloneError
from app.standalone.stop_signals import Stopped, raise_on_stop_signals
from examples.digits.journey import Journey, JourneyFailed
from lethe import Client, LetheError

STOPPED = 130


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="where the results go")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="lethe-demo-") as folder:
            _run(Path(folder), options.output, options.seed, console)
    except Stopped:
        # Not by the console: interrupted in the middle of a line, it would say that line once more.
        print("Stopped; nothing is left running.")
        return STOPPED
    except (JourneyFailed, LetheError, StandaloneError, OSError) as error:
        print(f"The demo could not go on: {error}", file=sys.stderr)
        return 1
    return 0


def _run(folder: Path, output: Path, seed: int, console: Console) -> None:
    started = time.monotonic()
    console.print("[bold]Lethe[/bold]: starting PostgreSQL, Redis, API, relay and worker ...")
    deployment = EmbeddedDeployment(folder / "lethe")
    raise_on_stop_signals(deployment.hurry)
    with deployment:
        console.print(f"  ready at {deployment.url} after {time.monotonic() - started:.0f} s")
        with Client(deployment.url, deployment.api_key) as client:
            Journey(client, deployment.folder.data, output, seed, console).run()
        console.print(f"\nThe API's docs were at {deployment.url}/docs while this ran;")
        console.print("[bold]make serve[/bold] keeps a deployment running, with its docs at /docs.")
    console.print(f"Everything is stopped again. It took {time.monotonic() - started:.0f} s.")


if __name__ == "__main__":
    code = main()
    # A network may still be training in the background, and torch aborts the process when the interpreter
    # ends under it.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
