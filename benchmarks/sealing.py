"""`python -m benchmarks.sealing`: what chaining the audit log costs those who post requests.

Eight connections post requests of 10 instances: without the trigger that notes rows for the sealer, with it,
and with it while a sealer works beside. Then at the bottom: microseconds that one row takes to write,
without and with the trigger, and rows that the sealer chains in a second. Rounds alternate and medians are
printed, because machines are noisy.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

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


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, stage(Path(folder)) as on:
        posts: dict[str, list[float]] = {case: [] for case in CASES}
        rows: dict[str, list[float]] = {case: [] for case in CASES[:2]}
        requests = _posts(on, POST)
        _drive(on.api, requests, CONNECTIONS, 1.0)
        for _ in range(ROUNDS):
            for case in CASES:
                posts[case].append(_posted(on, requests, case))
            for case in rows:
                rows[case].append(_written(on, case))
        chained = _chained(on)
    for case, runs in posts.items():
        ratios = [run / base for run, base in zip(runs, posts["without"], strict=True)]
        print(f"{case:17} {median(runs):6.0f} requests/s, {median(ratios):.3f} of without")
    for case, runs in rows.items():
        print(f"{case:17} {median(runs):6.1f} µs to write a row")
    print(f"the sealer chains {chained:.0f} rows/s")
    return 0


def _posted(on: Stage, requests: list[str], case: str) -> float:
    """Requests per second."""
    settle(on.world)
    _switch_trigger(on, case)
    with _sealer(on, working=case == "noted and sealed"):
        run = _drive(on.api, requests, CONNECTIONS, SECONDS)
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
