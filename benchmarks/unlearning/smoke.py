"""The whole harness in seconds: few instances and epochs, every method and every data set once."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.unlearning.chosen import Chosen
from benchmarks.unlearning.configurations import NOTHING, Configuration, compared_methods
from benchmarks.unlearning.controls import CONTROLS
from benchmarks.unlearning.finished_rows import FinishedRows
from benchmarks.unlearning.grid import AIMED
from benchmarks.unlearning.jobs import Job
from benchmarks.unlearning.problems import ProblemKey
from benchmarks.unlearning.reporting import write_report
from benchmarks.unlearning.requests import RequestPlan
from benchmarks.unlearning.sweep import sweep

PROBLEM = ProblemKey("digits", seed=2000, instances=120, epochs=3)
OTHERS = (
    ProblemKey("scenes", 2000, instances=24, epochs=1),
    ProblemKey("records", 2000, instances=80, epochs=1),
)
SMALL = {
    "interference_aware": Configuration(
        {"calibration.probe_samples": 160, "calibration.reference_samples": 80}, {"visits": 4}
    )
}


def smoke_jobs() -> list[Job]:
    """Figures of these mean nothing: the network hardly learned."""
    full = RequestPlan("random", "full", 0.05)
    others = (
        RequestPlan("clustered", "turn", 0.05),
        RequestPlan("hard", "mixed", 0.05),
        RequestPlan("random", "full", 0.02, 2),
    )
    ours = SMALL["interference_aware"]
    return [
        *[
            Job("base", PROBLEM, full, method, SMALL.get(method, Configuration()))
            for method in (NOTHING, *compared_methods())
        ],
        *[Job("base", PROBLEM, plan, "interference_aware", ours) for plan in others[:2]],
        Job("aim", PROBLEM, full, "interference_aware", replace(ours, fields={**ours.fields, **AIMED})),
        Job("sequence", PROBLEM, others[2], "interference_aware", ours),
        *[Job("controls", PROBLEM, full, name) for name in CONTROLS],
        *[Job("base", problem, full, "interference_aware", ours) for problem in OTHERS],
    ]


def smoke(folder: Path, cache: Path, console: Console) -> bool:
    """Run in this process and write a report below `folder`."""
    rows = FinishedRows(folder / "rows.jsonl")
    finished = sweep(smoke_jobs(), rows, cache, processes=0, console=console)
    write_report(rows, Chosen({}), folder)
    return finished
