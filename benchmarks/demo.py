"""How long `make demo` takes once everything is installed: python -m benchmarks.demo --runs 3

Writes benchmarks/results/demo.json: wall seconds of each run, with the machine and the versions.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "demo.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    seconds = []
    for run in range(options.runs):
        with tempfile.TemporaryDirectory() as output:
            started = time.monotonic()
            subprocess.run(
                [sys.executable, "-m", "examples.digits", "--output", output],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            seconds.append(round(time.monotonic() - started, 1))
        print(f"run {run + 1}: {seconds[-1]} s", flush=True)
    result = {
        "command": "python -m benchmarks.demo",
        "wall_seconds": seconds,
        "median_seconds": statistics.median(seconds),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "system": platform.system()},
        "versions": {"python": platform.python_version(), "torch": version("torch")},
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
