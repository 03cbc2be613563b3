"""Interference-aware unlearning: goals estimated per request, guarded steps, nothing tuned by hand.

The problem and the two guards are those of arXiv 2605.19042; goals, probe, teacher and trust region are
described in docs/engine.md. Guarantee: empirical, that is, measured.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from worker.engine.calibration import (
    Calibration,
    CalibrationSettings,
    calibrate,
    calibration_passes,
    holdout_sample,
)
from worker.engine.contract import Budget, Data, Guarantee, Monitor, Outcome, Problem
from worker.engine.forget_groups import ForgetPlan, plan_forgetting
from worker.engine.forward import Precision
from worker.engine.looks import Looks
from worker.engine.measurement import Measurement, measure
from worker.engine.progress import Progress
from worker.engine.snapshots import SECONDS_BETWEEN, SnapshotClock, run_name
from worker.engine.stopping import goals_reached, residuals
from worker.engine.supervision import bind_tasks
from worker.engine.trust_region import Guards
from worker.engine.unlearning import RETAIN_RATIO, Unlearning, planned_steps


@dataclass(frozen=True)
class InterferenceAware:
    """The method. Its settings are fixed: they serve every network, data set and request alike.

    guards: "always" and "never" are there to be compared with.
    """

    name: str = "interference_aware"
    guarantee: Guarantee = "empirical"
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    snapshot_seconds: float = SECONDS_BETWEEN
    precision: Precision = "float32"
    guards: Guards = "when_needed"

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        """Raises `Refused`: task_would_be_erased, forget_set_too_large, holdout_too_small, network_frozen,
        loss_not_finite, batch_too_small, device_memory_too_small."""
        plan = plan_forgetting(problem.forget, problem.train.present, problem.tasks)
        if len(plan.rows) == 0:
            return Outcome(copy.deepcopy(problem.network), self.guarantee, 0, 0.0, 0, 0)
        original = copy.deepcopy(problem.network).to(device).eval().requires_grad_(False)
        tasks = bind_tasks(problem.tasks, problem.train, problem.recipe.loss_weights, device)
        visits = budget.visits * budget.scale
        batch = min(budget.batch_size, len(plan.rows))
        retain_batch = RETAIN_RATIO * budget.batch_size
        steps = planned_steps(visits, len(plan.rows), batch)
        held_out = holdout_sample(problem.calibration.present, plan, seed)
        calibrating = calibration_passes(plan, len(held_out), self.calibration)
        looks = Looks(steps)

        def looked(done: int) -> int:
            """Forward passes of all looks until `done` steps."""
            return looks.follows_until(done) * len(held_out) + looks.checks_until(done) * len(plan.rows)

        progress = Progress(
            monitor, calibrating + (batch + retain_batch) * steps + looked(steps) + len(plan.rows)
        )
        clock = SnapshotClock(monitor, run_name(self.name, problem, budget, seed), self.snapshot_seconds)
        saved = clock.resume() or {}

        if "calibration" in saved:
            calibration = Calibration.from_state(saved["calibration"], device)
        else:
            calibration = calibrate(
                original, problem, plan, tasks, self.calibration,
                seed=seed, device=device, progress=progress, clock=clock, saved=saved,
                precision=self.precision,
            )  # fmt: skip
            clock.offer_now(lambda: {"calibration": calibration.state()})
        progress.done = calibrating
        run = Unlearning(
            original, problem, plan, tasks, calibration,
            steps=steps, batch_size=batch, retain_batch_size=retain_batch, seed=seed, device=device,
            precision=self.precision, guards=self.guards,
        )  # fmt: skip
        if "unlearning" in saved:
            run.resume(saved["unlearning"])
            progress.done += run.done * run.instances_per_step + looked(run.done)

        def look(data: Data, rows: Tensor, note: str) -> Measurement:
            return measure(
                run.network, tasks, data, rows,
                device=device, progress=progress, note=note, precision=self.precision,
            )  # fmt: skip

        def look_at_forgotten() -> Measurement:
            return look(problem.train, plan.rows, "checking goals")

        while run.done < steps:
            run.step()
            progress.advance(run.instances_per_step, "unlearning")
            if looks.follows(run.done):
                run.follow(look(problem.calibration, held_out, "looking at the holdout"))
            if looks.checks(run.done):
                reached = goals_reached(plan, calibration, look_at_forgotten())
                if reached and run.region.inside:
                    break
            clock.offer(lambda: {"calibration": calibration.state(), "unlearning": run.snapshot()})

        found = residuals(plan, calibration, problem.forget.requests, tasks, look_at_forgotten())
        progress.advance(progress.total, "unlearned")
        return Outcome(
            network=_as_before(run.network, problem.network),
            guarantee=self.guarantee,
            steps=run.done,
            visits=run.done * batch / len(plan.rows),
            passes=calibration.passes + run.done * run.instances_per_step + run.basis_passes,
            forward_passes=calibration.forward_passes
            + run.original_passes
            + looked(run.done)
            + len(plan.rows),
            residuals=found,
            details=_details(plan, calibration, run, problem),
        )


def _as_before(network: nn.Module, original: nn.Module) -> nn.Module:
    """Mode and gradient flags as the registered network had them."""
    for parameter, like in zip(network.parameters(), original.parameters(), strict=True):
        parameter.requires_grad_(like.requires_grad)
        parameter.grad = None
    return network.train(original.training)


def _details(plan: ForgetPlan, calibration: Calibration, run: Unlearning, problem: Problem) -> dict[str, Any]:
    """What was calibrated and what the guards did, for the record: JSON-able."""
    factors = run.forget_factors
    return {
        "goals": [
            {
                "task": problem.tasks[group.column].name,
                "requests": len(group.references),
                "instances": len(group.members),
                "goal": round(float(calibration.goals[number]), 3),
                "reliability": round(float(calibration.reliability[number]), 3),
                "kappa": round(float(calibration.kappas[number]), 3),
                "forget_factor": round(factors[group.column], 3),
            }
            for number, group in enumerate(plan.groups)
        ],
        "trust_region": {
            "retain_loss_before": calibration.retain_loss,
            "bound": run.region.bound,
            "retain_loss": run.region.smoothed,
            "inside": run.region.inside,
            "violations": run.region.violations,
        },
    }
