"""What one network does on the parts of a problem: forgotten, retained, held out."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.unlearning.cached_networks import CPU
from benchmarks.unlearning.problems import Prepared
from worker.engine.contract import ForgetSet, Silent
from worker.engine.measurement import Measurement, measure
from worker.engine.progress import Progress
from worker.engine.randomness import derived_generator

RETAIN_SAMPLE = 400


@dataclass(frozen=True)
class Parts:
    """forget (F,), retain (r,): rows. named, kept (F, T): supervision forgotten by this job, and that of
    the same instances which is retained."""

    forget: Tensor
    retain: Tensor
    named: Tensor
    kept: Tensor


@dataclass(frozen=True)
class Look:
    """Measurements on the parts, and on the audit half of the holdout ("test")."""

    forget: Measurement
    retain: Measurement
    test: Measurement


def parts_of(problem: Prepared, forget: ForgetSet) -> Parts:
    """The retained sample is the same for every method."""
    present = problem.train.present
    before = ForgetSet(forget.instances, forget.tasks, (), forget.excluded).retained(present)
    after = forget.retained(present)
    gone = before & ~after
    touched = gone.any(dim=1)
    pool = (after.any(dim=1) & ~touched).nonzero().flatten()
    order = torch.randperm(len(pool), generator=derived_generator(problem.key.seed, "benchmark", "retain"))
    rows = touched.nonzero().flatten()
    return Parts(rows, pool[order[:RETAIN_SAMPLE]].sort().values, gone[rows], after[rows])


def look_at(problem: Prepared, network: nn.Module, parts: Parts) -> Look:
    """Three forward passes, in evaluation mode."""

    def on(data: object, rows: Tensor) -> Measurement:
        return measure(
            network, problem.tasks, data, rows,  # type: ignore[arg-type]
            device=CPU, progress=Progress(Silent(), 1), note="measuring",
        )  # fmt: skip

    return Look(
        forget=on(problem.train, parts.forget),
        retain=on(problem.train, parts.retain),
        test=on(problem.audit, torch.arange(len(problem.audit))),
    )
