"""`python -m benchmarks.sealing [--rounds 9] [--seconds 3] [--results FOLDER]`: what chaining the audit log
costs those who post requests.

Eight connections post requests of 10 instances: without the trigger that notes rows for the sealer, with it,
and with it while a sealer works beside. Then at the bottom: microseconds that one row takes to write,
without and with the trigger, and rows that the sealer chains in a second. Rounds alternate and medians are
taken, because machines are noisy. Writes sealing.json and sealing.md.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from app.core.database import relay_url
from app.relay.sealing import seal_entries
from benchmarks.http.requests import POST, _drive, _posts
from benchmarks.http.stage import Stage, settle, stage

ROUNDS, SECONDS, CONNECTIONS = 9, 3.0, 8
CASES = ("without", "noted", "noted and sealed")
ROWS = 500
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sealing")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of posting, per round and case")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of sealing.json and .md")
    options = parser.parse_args(arguments)
    found = _measured(options.rounds, options.seconds)
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "sealing.json").write_text(json.dumps(found, indent=1) + "\n")
    report = _report(found)
    (options.results / "sealing.md").write_text(report)
    print(report)
    return 0


def _measured(rounds: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, stage(Path(folder)) as on:
        posts: dict[str, list[float]] = {case: [] for case in CASES}
        rows: dict[str, list[float]] = {case: [] for case in CASES[:2]}
        requests = _posts(on, POST)
        _drive(on.api, requests, CONNECTIONS, 1.0)
        for _ in range(rounds):
            for case in CASES:
                posts[case].append(_posted(on, requests, case, seconds))
            for case in rows:
                rows[case].append(_written(on, case))
        chained = _chained(on)
    return {
        "rounds": rounds,
        "seconds": seconds,
        "connections": CONNECTIONS,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "requests_per_second": posts,
        "microseconds_per_row": rows,
        "rows_chained_per_second": chained,
    }


def _report(found: dict[str, Any]) -> str:
    posts, rows = found["requests_per_second"], found["microseconds_per_row"]
    lines = []
    for case, runs in posts.items():
        ratios = [run / base for run, base in zip(runs, posts["without"], strict=True)]
        row = f"{median(rows[case]):.0f}" if case in rows else ""
        lines.append(f"| {case} | {median(runs):.0f} | {median(ratios):.3f} | {row} |\n")
    return (
        "# What sealing the audit log costs\n\n"
        f"`python -m benchmarks.sealing --rounds {found['rounds']} --seconds {found['seconds']:g}`; "
        f"{found['machine']}. {found['connections']} connections post requests of 10 instances: without the "
        "trigger that notes rows for the sealer, with it, and with it while a sealer works beside. Medians; "
        "the ratio is that of each round.\n\n"
        "| audit log | requests/s | of without | µs to write a row |\n|---|---:|---:|---:|\n"
        f"{''.join(lines)}\nThe sealer chains {found['rows_chained_per_second']:.0f} rows a second.\n"
    )


def _posted(on: Stage, requests: list[str], case: str, seconds: float) -> float:
    """Requests per second."""
    settle(on.world)
    _switch_trigger(on, case)
    with _sealer(on, working=case == "noted and sealed"):
        run = _drive(on.api, requests, CONNECTIONS, seconds)
    return float(run["requests"] / run["seconds"])


def _written(on: Stage, case: str) -> float:
    """Microseconds per row, each committed; the disk is not waited for."""
    _switch_trigger(on, case)
    tenant = on.world.tenant()
    taken = []
    url = relay_url(on.world.settings).replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        for _ in range(ROWS):
            started = time.perf_counter()
            connection.execute(
                "INSERT INTO audit_log (tenant_id, actor, action) VALUES (%s, 'operator', 'benchmark')",
                [tenant],
                prepare=True,
            )
            taken.append(time.perf_counter() - started)
    return median(taken) * 1e6


def _chained(on: Stage) -> float:
    """Rows per second, of those that were written above."""
    engine = create_engine(relay_url(on.world.settings))
    started = time.perf_counter()
    rows = seal_entries(sessionmaker(engine))
    engine.dispose()
    return rows / (time.perf_counter() - started)


def _switch_trigger(on: Stage, case: str) -> None:
    state = "DISABLE" if case == "without" else "ENABLE"
    on.world.run(f"ALTER TABLE audit_log {state} TRIGGER note_unsealed")


@contextmanager
def _sealer(on: Stage, *, working: bool) -> Iterator[None]:
    """As the relay's, but twice as often."""
    engine = create_engine(relay_url(on.world.settings))
    sessions: sessionmaker[Session] = sessionmaker(engine)
    done = threading.Event()

    def work() -> None:
        while not done.wait(1.0):
            seal_entries(sessions)

    thread = threading.Thread(target=work)
    if working:
        thread.start()
    yield
    done.set()
    if working:
        thread.join()
    engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
