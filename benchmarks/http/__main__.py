"""Run all measurements and write them down."""

import argparse
import json
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from benchmarks.http import checkpoints, requests
from benchmarks.http.stage import stage

RESULTS = Path(__file__).parent.parent / "results"
PACKAGES = ("fastapi", "starlette", "uvicorn", "pydantic", "sqlalchemy", "psycopg", "obstore")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=512)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lethe-http-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        load_before = os.getloadavg()[0]
        with stage(folder) as ready:
            result = {
                "machine": _machine(load_before),
                "requests": requests.measure(ready, arguments.rounds),
                "hundred_thousand_instances": requests.hundred_thousand(ready, arguments.rounds),
                "checkpoint": checkpoints.measure(ready, folder, arguments.mebibytes, 3),
            }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "http.json").write_text(json.dumps(result, indent=2) + "\n")
    report = _report(result)
    (RESULTS / "http.md").write_text(report)
    print(report)
    return 0


def _machine(load: float) -> dict:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cpu = names[0].split(":")[1].strip() if names else platform.processor()
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "load_average_before": round(load, 2),
    }


def _report(result: dict) -> str:
    machine, big, bytes_ = result["machine"], result["hundred_thousand_instances"], result["checkpoint"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [
        "# What the HTTP API costs",
        "",
        f"{machine['cpu']}, {machine['cores']} cores; Python {machine['python']}; {versions}. One uvicorn "
        "process each; PostgreSQL with default durability; servers and client on the same cores. Load "
        f"average before the run (other work on the same machine): {machine['load_average_before']}. Medians "
        "of interleaved rounds.",
        "",
        "| target | connections | requests/s | p50 ms | p99 ms | server CPU ms each | beside bare |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in result["requests"]:
        share = _share(row, result["requests"])
        lines.append(
            f"| {row['target']} | {row['connections']} | {row['per_second']:.0f} | {row['p50_ms']:.2f} |"
            f" {row['p99_ms']:.2f} | {row['server_cpu_ms']:.2f} | {share} |"
        )
    speeds = bytes_["megabytes_per_second"]
    lines += [
        "",
        f"One request with 100,000 instances ({big['megabytes']:.1f} MB of JSON) is accepted in "
        f"{big['seconds']:.2f} s (median of {big['times']}; worst {big['worst']:.2f} s).",
        "",
        f"A checkpoint of {bytes_['mebibytes']} MiB: up {speeds['up']:.0f} MB/s (hashed, and forced to "
        f"disk), down {speeds['down']:.0f} MB/s; on the same disk `cp` {speeds['cp']:.0f} MB/s, `cp` and "
        f"`fsync` {speeds['cp and fsync']:.0f} MB/s. The API's resident memory grew by at most "
        f"{bytes_['peak_rss_growth_mebibytes']:.0f} MiB.",
        "",
    ]
    return "\n".join(lines)


def _share(row: dict, rows: list[dict]) -> str:
    bare = [
        other
        for other in rows
        if other["connections"] == row["connections"]
        and "bare" in other["target"]
        and other["target"].split()[0].rstrip(",") == row["target"].split()[0].rstrip(",")
    ]
    if "bare" in row["target"] or "empty" in row["target"] or not bare:
        return ""
    return f"{row['per_second'] / bare[0]['per_second']:.2f}"


if __name__ == "__main__":
    sys.exit(main())
