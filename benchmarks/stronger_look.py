"""What stronger attacks than a report's own see in the demonstration's model after unlearning.

    python -m benchmarks.stronger_look --seeds 3

Per seed: fresh data noise, a network trained until it knows its labels by heart, 150 random instances
forgotten for all tasks by interference-aware unlearning; then the same look that `python -m worker.audit`
takes. Writes benchmarks/results/stronger_look.json and stronger_look.md. `--resume` keeps the seeds that are
there: for a run that was killed, with the same code and options. `--method salun`: a published method, with
what `python -m benchmarks.unlearning tune` chose for it on digits; writes stronger_look_salun.json and .md.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.stronger_look_table import table
from benchmarks.unlearning.chosen import read_chosen
from benchmarks.unlearning.grid import OURS
from examples.digits.data import NETWORK, RECIPE, write_digits
from examples.digits.training import SPECS
from worker.audit.looking import look
from worker.audit.subject import Effort, Subject
from worker.audit.work_folder import work_folder
from worker.engine.contract import ForgetRequest, ForgetSet, Problem, Recipe, Silent
from worker.engine.data import open_data, split_holdout
from worker.engine.networks import build_network
from worker.engine.randomness import derived_generator
from worker.engine.training import train
from worker.pipeline.evaluate import finite

RESULTS = Path(__file__).parent / "results"
CPU = torch.device("cpu")
FORGET = 150


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="100 and above are for development")
    parser.add_argument("--references", type=int, default=16)
    parser.add_argument("--retrained", type=int, default=8)
    parser.add_argument("--method", default=OURS)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lethe-stronger-look")
    options = parser.parse_args()
    os.nice(10)
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    name = "stronger_look" if options.method == OURS else f"stronger_look_{options.method}"
    file = options.output / f"{name}.json"
    rows: dict[str, Any] = {}
    if options.resume and file.exists():
        rows = json.loads(file.read_text())
    for seed in range(options.first, options.first + options.seeds):
        if str(seed) in rows:
            continue
        started = time.process_time()
        effort = Effort(references=options.references, retrained=options.retrained, seed=seed)
        found: dict[str, Any] = finite(_look(seed, effort, options.method, options.work))
        rows[str(seed)] = found | {"cpu_seconds": round(time.process_time() - started, 1)}
        print(f"seed {seed}: {rows[str(seed)]['cpu_seconds']} CPU s", flush=True)
        file.write_text(json.dumps(rows, separators=(",", ":")) + "\n")
    (options.output / f"{name}.md").write_text(table(rows, options.method, FORGET))


def _look(seed: int, effort: Effort, method: str, work: Path) -> dict[str, Any]:
    subject = _unlearned(seed, method)
    with work_folder(work, seed, method, RECIPE, NETWORK) as folder:
        found = look(subject, effort, folder, CPU, lambda what, share: None)
        folder.remove()
    return found


def _unlearned(seed: int, method: str) -> Subject:
    recipe = Recipe(**RECIPE)
    with tempfile.TemporaryDirectory() as place:
        written = write_digits(Path(place), seed=seed)
        data = open_data("arrays", written.train, SPECS)
        calibration, audit = split_holdout(open_data("arrays", written.holdout, SPECS), SPECS, seed)
        network = _build(derived_generator(seed, "original"))
        train(network, SPECS, data, data.present, recipe, seed=seed, device=CPU, monitor=Silent())
        rows = torch.randperm(len(data), generator=derived_generator(seed, "forget"))[:FORGET].sort().values
        forget = ForgetSet(len(data), len(SPECS), (ForgetRequest("benchmark", rows, (0, 1, 2)),))
        problem = Problem(network, _build, SPECS, data, calibration, forget, recipe)
        chosen = read_chosen(RESULTS / "unlearning" / "configurations.json").of("digits", method)
        unlearn, budget = chosen.method(method), chosen.spent()
        outcome = unlearn(problem, budget, seed=seed, device=CPU, monitor=Silent())
        forgotten = forget.mask() & data.present
        return Subject(
            version=outcome.network.eval(),
            original=network.eval(),
            build=_build,
            tasks=SPECS,
            recipe=recipe,
            train=data,
            calibration=calibration,
            audit=audit,
            forgotten=forgotten,
            barred=forgotten,
        )


def _build(generator: torch.Generator) -> nn.Module:
    return build_network(NETWORK, SPECS, generator)


if __name__ == "__main__":
    main()
