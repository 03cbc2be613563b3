"""python -m benchmarks.api_fuzzing --cases 10000: rounds of seeded runs until so many calls were made.

Each round has a database of its own. Ends with status 1, and says how to repeat it, when a check failed.
"""

import json
import tempfile
import time
from itertools import count
from pathlib import Path

import structlog
import typer

from app.core.links import LINKS
from app.standalone.postgres import PostgresServer
from benchmarks.api_fuzzing.stage import on_stage
from benchmarks.api_fuzzing.throwing import PHASES, Found
from tests.database import build_template, temporary_database

DECLARED = sum(map(len, LINKS.values()))
WALKS = 4
RESULT = Path(__file__).parent.parent / "results" / "api_fuzzing.md"


def main(cases: int = 10_000, seed: int = 1, examples: int = 40) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    found, started = Found(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder, PostgresServer(Path(folder) / "postgres") as postgres:
        build_template(postgres.superuser_url)
        for number in count(seed):
            place = Path(folder) / str(number)
            place.mkdir()
            with temporary_database(postgres.superuser_url) as url:
                on_stage(url, place, found, seed=number, examples=examples, phases=PHASES, walks=WALKS)
            typer.echo(f"seed {number}: {found.cases} calls, {len(found.failures)} kinds of failure")
            if found.cases >= cases:
                break
    RESULT.write_text(_report(found, seed, number, examples, time.monotonic() - started))
    for (operation, check, title), text in sorted(found.failures.items()):
        typer.echo(f"\n{operation}: {check}: {title}\n{text}")
    for error in dict.fromkeys(found.errors):
        typer.echo(f"\n{error}")
    raise typer.Exit(1 if found.failures or found.errors else 0)


def _report(found: Found, first: int, last: int, examples: int, seconds: float) -> str:
    lines = [
        "# What schemathesis finds in the API",
        "",
        f"`python -m benchmarks.api_fuzzing --seed {first} --examples {examples} --cases {found.cases}`:"
        f" {found.cases} calls to {len(found.operations)} operations in {seconds:.0f} s, seeds {first} to"
        f" {last}, each on a new database.",
        "",
        f"**{len(found.failures)} kinds of failure.** Answers by status: "
        + ", ".join(f"{status}: {number}" for status, number in sorted(found.statuses.items()))
        + ".",
        "",
        f"**{found.links.total()} calls went over links**, with what the answer before had named: over"
        f" {len(found.links)} of the {DECLARED} that the document declares, to"
        f" {len({target for _, target in found.links})} operations.",
        "",
        "| check | times | failed |",
        "|---|---|---|",
    ]
    failed = [check for _, check, _ in found.failures]
    lines += [
        f"| {name} | {number} | {failed.count(name)} |" for name, number in sorted(found.checks.items())
    ]
    lines += ["", "| operation | calls |", "|---|---|"]
    lines += [f"| `{name}` | {number} |" for name, number in sorted(found.operations.items())]
    lines += [f"\nFailed: `{json.dumps(key)}`" for key in sorted(found.failures)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
