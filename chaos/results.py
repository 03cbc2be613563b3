"""What the seeds add up to: chaos.json, one entry per seed, and the table made from it."""

import json
import os
import platform
from pathlib import Path
from statistics import median
from typing import Any

from chaos.run import LIMIT, Verdict
from chaos.service import LEASE_SECONDS, SETTINGS, WORKERS


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
    kinds: dict[str, list[float | None]] = {}
    for fault in faults:
        kinds.setdefault(fault["kind"], []).append(fault["recovery"])
    took = [fault["recovery"] for fault in faults if fault["recovery"] is not None]
    late = sum(seconds > LIMIT for seconds in took) + len(faults) - len(took)
    lines = [
        "# A service under faults",
        "",
        f"`python -m chaos`: seeds {', '.join(seeds)}; "
        f"{platform.python_version()}, {os.cpu_count()} cores, {WORKERS} worker processes, leases of "
        f"{LEASE_SECONDS:g} s, at most {SETTINGS['LETHE_MAX_ATTEMPTS']} attempts.",
        "",
        "A real API, relay and workers on a real PostgreSQL and Redis; two tenants with two models each, and "
        "a stream of deletion requests, some of which are taken back. When a fault is over the stream pauses "
        "and one more request is posted. The recovery is the time from the end of the fault until that one, "
        "and every request accepted before it, is settled: the work that was waiting anyway is in it. The "
        "checker reads only the database and the storage (`chaos/checker.py`).",
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
        f"| recovery, all kinds | median {median(took):.1f} s, worst {max(took):.1f} s |",
        f"| later than three leases ({LIMIT:g} s) | {late} |",
        "",
        "Recovery in seconds, per kind:",
        "",
        "| kind | faults | median | worst |",
        "|---|---|---|---|",
    ]
    for kind, seconds in sorted(kinds.items()):
        known = [value for value in seconds if value is not None]
        worst = f"{max(known):.1f}" if len(known) == len(seconds) else "never"
        lines.append(
            f"| {kind} | {len(seconds)} | {median(known):.1f} | {worst} |" if known else f"| {kind} | | | |"
        )
    return "\n".join(lines) + "\n"


def _sum(runs: list[dict[str, Any]], key: str) -> int:
    return sum(run[key] for run in runs)


def _added(runs: list[dict[str, Any]], key: str) -> str:
    total: dict[str, int] = {}
    for run in runs:
        for name, count in run[key].items():
            total[name] = total.get(name, 0) + count
    return ", ".join(f"{name} {count}" for name, count in sorted(total.items()))
