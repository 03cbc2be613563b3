"""Run seeds that were not run yet, and add them to the results."""

import argparse
import sys
from pathlib import Path

from app.standalone.stop_signals import raise_on_stop_signals
from chaos import results
from chaos.run import run_seed

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


def main() -> int:
    raise_on_stop_signals(lambda: None)  # so that no process of the service outlives this one
    parser = argparse.ArgumentParser(prog="python -m chaos")
    parser.add_argument(
        "--seeds", default="1-10", help="such as 7 or 1-10; those in the results are passed over"
    )
    parser.add_argument("--faults", type=int, default=32, help="per seed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of chaos.json and chaos.md")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    broken = False
    for seed in range(int(first), int(last or first) + 1):
        if results.has(arguments.results, seed):
            print(f"seed {seed}: in the results already", flush=True)
            continue
        print(f"seed {seed}", flush=True)
        verdict = run_seed(seed, arguments.faults, lambda line: print(line, flush=True))
        for promise in verdict.broken:
            print(f"BROKEN: {promise}", flush=True)
        broken = broken or bool(verdict.broken)
        results.add(arguments.results, verdict)
        print(
            f"seed {seed}: {len(verdict.faults)} faults in {verdict.seconds:.0f} s, "
            f"{verdict.accepted} requests accepted, {verdict.lost} lost, {verdict.doubled} versions doubled",
            flush=True,
        )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
