"""What the seeds add up to: chaos.json, one entry per seed, and the table made from it."""

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from chaos.run import LIMIT, Verdict
from chaos.service import LEASE_SECONDS, SETTINGS, WORKERS

Fault = dict[str, Any]
FIGURES = ("recovery", "settled")


def has(folder: Path, seed: int) -> bool:
    return str(seed) in _read(folder)


def add(folder: Path, verdict: Verdict) -> None:
    seeds = _read(folder) | {str(verdict.seed): verdict.as_json()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "chaos.json").write_text(json.dumps(seeds, indent=1) + "\n")
    (folder / "chaos.md").write_text(_report(seeds))


def _read(folder: Path) -> dict[str, Any]:
    file = folder / "chaos.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def _report(seeds: dict[str, Any]) -> str:
    runs = list(seeds.values())
    faults = [fault for run in runs for fault in run["faults"]]
    kinds: dict[str, list[Fault]] = {}
    for fault in faults:
        kinds.setdefault(fault["kind"], []).append(fault)
    lines = [
        "# A service under faults",
        "",
        f"`python -m chaos`: seeds {', '.join(seeds)}; "
        f"{platform.python_version()}, {os.cpu_count()} cores, {WORKERS} worker processes, leases of "
        f"{LEASE_SECONDS:g} s, at most {SETTINGS['LETHE_MAX_ATTEMPTS']} attempts.",
        "",
        "A real API, relay and workers on a real PostgreSQL and Redis; two tenants with two models each, and "
        "a stream of deletion requests, some of which are taken back. When a fault is over the stream pauses "
        "and one more request is posted. The recovery is the time from the end of the fault until that one "
        "is accepted and work goes on: every job that was begun then is at work again, under its holder or "
        "the next, or over, and somebody is at work if there is any. All settled: until that request and "
        "every one accepted before it is, so the work that was waiting anyway is in it. "
        "The checker reads only the database and the storage (`chaos/checker.py`).",
        "",
        "| what | |",
        "|---|---|",
        f"| faults | {len(faults)} of {len(kinds)} kinds |",
        f"| requests accepted | {_sum(runs, 'accepted')} |",
        f"| lost | {_sum(runs, 'lost')} |",
        f"| versions doubled | {_sum(runs, 'doubled')} |",
        f"| other promises broken | {sum(len(run['broken']) for run in runs)} |",
        f"| models registered meanwhile | {_sum(runs, 'models')} |",
        f"| how requests ended | {_added(runs, 'statuses')} |",
        f"| reasons of those that failed | {_added(runs, 'failures') or 'none'} |",
        f"| how attempts ended | {_added(runs, 'attempts')} |",
        f"| recovery, all kinds | {_in_words(faults, 'recovery')} |",
        f"| all settled | {_in_words(faults, 'settled')} |",
        "",
        "Seconds, per kind:",
        "",
        "| kind | faults | recovery: median | worst | all settled: median | worst |",
        "|---|---|---|---|---|---|",
    ]
    for kind, struck in sorted(kinds.items()):
        cells = [cell for figure in FIGURES for cell in (_middle(struck, figure), _worst(struck, figure))]
        lines.append(f"| {kind} | {len(struck)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _in_words(faults: Sequence[Fault], figure: str) -> str:
    late = sum(seconds is None or seconds > LIMIT for seconds in _seconds(faults, figure))
    return (
        f"median {_middle(faults, figure)} s, worst {_worst(faults, figure)} s; "
        f"{late} later than three leases ({LIMIT:g} s)"
    )


def _middle(faults: Sequence[Fault], figure: str) -> str:
    known = [seconds for seconds in _seconds(faults, figure) if seconds is not None]
    return f"{median(known):.1f}" if known else ""


def _worst(faults: Sequence[Fault], figure: str) -> str:
    seconds = _seconds(faults, figure)
    known = [each for each in seconds if each is not None]
    return f"{max(known):.1f}" if len(known) == len(seconds) else "never"


def _seconds(faults: Sequence[Fault], figure: str) -> list[float | None]:
    return [fault[figure] for fault in faults]


def _sum(runs: list[dict[str, Any]], key: str) -> int:
    return sum(run[key] for run in runs)


def _added(runs: list[dict[str, Any]], key: str) -> str:
    total: dict[str, int] = {}
    for run in runs:
        for name, count in run[key].items():
            total[name] = total.get(name, 0) + count
    return ", ".join(f"{name} {count}" for name, count in sorted(total.items()))
