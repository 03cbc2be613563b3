"""`python -m benchmarks.sealing [--rounds 20] [--seconds 2] [--results FOLDER]`: what chaining the audit log
costs those who post requests.

Eight connections post requests of 10 instances: without the trigger that notes rows for the sealer, with it,
and with it while a sealer works beside. Cases alternate, every other round backwards, and each is compared
with its own round, because machines are noisy. Beside the rate, and disturbed less by noise: processor time
per request of all that works for it (the API, all of PostgreSQL, the sealer), which is what bounds the rate
where all cores are busy. Then microseconds that one row takes to write, without and with the trigger, and
microseconds of processor time that the sealer and its server process take per row. Writes sealing.json and
sealing.md.
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
from statistics import median, quantiles
from typing import Any

import psutil
import psycopg
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from app.core.database import relay_url
from app.relay.sealing import seal_entries
from benchmarks.http.requests import POST, _drive, _posts
from benchmarks.http.stage import Stage, settle, stage

ROUNDS, SECONDS, CONNECTIONS = 20, 2.0, 8
CASES = ("without", "noted", "noted and sealed")
ROWS = 500
SEALINGS, SEALED = 9, 5000  # as many as one call seals
SEALERS = ("sealer", "server")
ENTRIES = "SELECT count(*) FROM audit_log"
WRITE = """
INSERT INTO audit_log (tenant_id, actor, action, subject_id, request_id, data)
SELECT :tenant, 'key:0123456789ab', 'deletion_request.create', gen_random_uuid(), gen_random_uuid()::text,
  jsonb_build_object('model', 'reader', 'instances', 10, 'tasks', jsonb_build_array('digit', 'parity'))
FROM generate_series(1, :rows)
"""
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sealing")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of posting, per round and case")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of sealing.json and .md")
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    found = _measured(options.rounds, options.seconds) | {"load_before": load}
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "sealing.json").write_text(json.dumps(found, indent=1) + "\n")
    report = _report(found)
    (options.results / "sealing.md").write_text(report)
    print(report)
    return 0


def _measured(rounds: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, stage(Path(folder)) as on:
        runs: dict[str, list[dict[str, Any]]] = {case: [] for case in CASES}
        rows: dict[str, list[float]] = {case: [] for case in CASES[:2]}
        requests = _posts(on, POST)
        _drive(on.api, requests, CONNECTIONS, 1.0)
        entries = on.world.run(ENTRIES)
        for number in range(rounds):
            for case in CASES if number % 2 == 0 else CASES[::-1]:
                runs[case].append(_posted(on, requests, case, seconds))
        posted = sum(run["requests"] for case in CASES for run in runs[case])
        entries = on.world.run(ENTRIES) - entries
        for _ in range(rounds):
            for case in rows:
                rows[case].append(_written(on, case))
        costs = [_sealing_cost(on) for _ in range(SEALINGS)]
    return {
        "rounds": rounds,
        "seconds": seconds,
        "connections": CONNECTIONS,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "requests_per_second": {
            case: [run["requests"] / run["seconds"] for run in runs[case]] for case in runs
        },
        "rows_per_request": entries / posted,
        "processor_ms_per_request": {case: [run["all_ms"] for run in runs[case]] for case in runs},
        "microseconds_per_row": rows,
        "microseconds_per_sealed_row": costs,
    }


def _report(found: dict[str, Any]) -> str:
    posts, rows = found["requests_per_second"], found["microseconds_per_row"]
    spent = found["processor_ms_per_request"]
    lines = [
        f"| {case} | {median(posts[case]):.0f} | {_of_without(posts, case)} | {median(spent[case]):.2f} | "
        f"{_of_without(spent, case)} | {f'{median(rows[case]):.0f}' if case in rows else ''} |\n"
        for case in posts
    ]
    sealed = {who: median(cost[who] for cost in found["microseconds_per_sealed_row"]) for who in SEALERS}
    share = 100 * sum(sealed.values()) * found["rows_per_request"] / (median(spent["without"]) * 1000)
    return (
        "# What sealing the audit log costs\n\n"
        f"`python -m benchmarks.sealing --rounds {found['rounds']} --seconds {found['seconds']:g}`; "
        f"{found['machine']}, of which other work took its share (load average {found['load_before']:.1f} "
        f"before it began). {found['connections']} connections post requests of 10 instances: without the "
        "trigger that notes rows for the sealer, with it, and with it while a sealer works beside, on the "
        "same cores. Processor time is that of API, PostgreSQL and sealer together. Medians; ratios are "
        "those within each round, with their quartiles.\n\n"
        "| audit log | requests/s | of without | processor ms a request | of without | µs to write a row |\n"
        "|---|---:|---:|---:|---:|---:|\n"
        f"{''.join(lines)}\nA row costs the sealer {sealed['sealer']:.0f} µs of processor time and its "
        f"server process {sealed['server']:.0f} µs; a request writes {found['rows_per_request']:.2f} rows. "
        f"That is {share:.1f} % of what a request costs.\n"
    )


def _of_without(figures: dict[str, list[float]], case: str) -> str:
    ratios = [figure / base for figure, base in zip(figures[case], figures["without"], strict=True)]
    low, middle, high = quantiles(ratios, n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def _posted(on: Stage, requests: list[str], case: str, seconds: float) -> dict[str, Any]:
    settle(on.world)
    _switch_trigger(on, case)
    before = _processor_seconds(on)
    with _sealer(on, working=case == "noted and sealed") as taken:
        run = _drive(on.api, requests, CONNECTIONS, seconds)
    spent = _processor_seconds(on) - before + sum(taken)
    return run | {"all_ms": spent * 1000 / run["requests"]}


def _processor_seconds(on: Stage) -> float:
    """Of the API and of PostgreSQL, those of its processes that have ended included."""
    server = psutil.Process(on.world.run("SELECT pg_backend_pid()")).parent()
    assert server is not None
    ended = server.cpu_times()
    working = [psutil.Process(on.api.process.pid), *server.children()]
    return float(ended.children_user + ended.children_system) + sum(
        sum(process.cpu_times()[:2]) for process in working
    )


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


def _sealing_cost(on: Stage) -> dict[str, float]:
    """Microseconds of processor time per row."""
    engine = create_engine(relay_url(on.world.settings), pool_size=1)
    sessions = sessionmaker(engine)
    while seal_entries(sessions):
        pass
    on.world.run(WRITE, tenant=on.world.tenant(), rows=SEALED)
    with sessions() as session:
        server = psutil.Process(session.scalar(text("SELECT pg_backend_pid()")))
    before, started = sum(server.cpu_times()[:2]), time.thread_time()
    rows = seal_entries(sessions)
    taken = {"sealer": time.thread_time() - started, "server": sum(server.cpu_times()[:2]) - before}
    engine.dispose()
    return {who: seconds * 1e6 / rows for who, seconds in taken.items()}


def _switch_trigger(on: Stage, case: str) -> None:
    state = "DISABLE" if case == "without" else "ENABLE"
    on.world.run(f"ALTER TABLE audit_log {state} TRIGGER note_unsealed")


@contextmanager
def _sealer(on: Stage, *, working: bool) -> Iterator[list[float]]:
    """As the relay's, but twice as often. Gives the processor seconds of its thread, once that is over."""
    engine = create_engine(relay_url(on.world.settings))
    sessions: sessionmaker[Session] = sessionmaker(engine)
    done = threading.Event()
    taken: list[float] = []

    def work() -> None:
        while not done.wait(1.0):
            seal_entries(sessions)
        seal_entries(sessions)
        taken.append(time.thread_time())

    thread = threading.Thread(target=work)
    if working:
        thread.start()
    yield taken
    done.set()
    if working:
        thread.join()
    engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
