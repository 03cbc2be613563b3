"""What the forget set should look like afterwards, estimated per request: nothing here is tuned by hand.

Calibrated on the calibration half of the holdout, a reference E and a probe P, at a cost that does not grow
with the training data. G is the number of forget groups, F of forget instances, T of tasks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from worker.engine.companions import Companion, Lesson, train_companions
from worker.engine.contract import Problem
from worker.engine.data.holdout import refuse_small_calibration
from worker.engine.descent import check_finite
from worker.engine.forget_groups import ForgetPlan
from worker.engine.forward import Precision
from worker.engine.group_goals import Seen, goal_of, teach
from worker.engine.loss_rulers import LossRulers, fit_rulers
from worker.engine.measurement import Measurement, measure
from worker.engine.progress import Progress
from worker.engine.randomness import derived_generator
from worker.engine.snapshots import SnapshotClock
from worker.engine.supervision import Task, task_weights, training_loss
from worker.engine.unnamed_labels import unnamed_targets

RETAIN_SAMPLE = 512
HOLDOUT_SAMPLE = 1024
HELD_OUT_PER_TASK = 256


@dataclass(frozen=True)
class CalibrationSettings:
    """Samples are instance passes. One setting serves every network and request.

    aim: at what retraining would make of the request, or, to be compared with, at the average of the holdout,
    whatever the probe says.
    """

    reference_samples: int = 800
    reference_batch: int = 8
    probe_samples: int = 7360
    probe_batch: int = 16
    kappa_pool: int = 50
    aim: Literal["retraining", "holdout"] = "retraining"


@dataclass(frozen=True)
class Calibration:
    """goals, reliability, kappas (G,): points, 0..1 and κ. targets: target losses, group after group, each
    group's ascending.

    teacher: per task (F, width), z^κ where forgotten and z^O elsewhere. losses: (F, T) of the original.
    unnamed: (F, T), where the losses of labels are to end that are kept, those of the original elsewhere.
    spread: (T,) standard deviation of a held-out score, in points. holdout: (T,) held-out instances.
    """

    goals: Tensor
    reliability: Tensor
    kappas: Tensor
    targets: Tensor
    teacher: Mapping[str, Tensor]
    losses: Tensor
    unnamed: Tensor
    spread: Tensor
    holdout: Tensor
    rulers: LossRulers
    retain_loss: float
    holdout_loss: float
    passes: int
    forward_passes: int

    def state(self) -> dict[str, Any]:
        return {**vars(self), "teacher": dict(self.teacher), "rulers": self.rulers.state()}

    @staticmethod
    def from_state(state: Mapping[str, Any], device: torch.device) -> "Calibration":
        moved = {
            name: value if value.dtype == torch.float16 else value.to(device)  # half is how the host holds it
            for name, value in state["teacher"].items()
        }
        rulers = LossRulers(**state["rulers"]).to(device)
        return Calibration(**{**state, "teacher": moved, "rulers": rulers})


def calibration_passes(plan: ForgetPlan, held_out: int, settings: CalibrationSettings) -> int:
    """Instance passes of a calibration, forward-only ones included, for a progress bar's total. held_out:
    the rows of its `holdout_sample`."""
    retained = RETAIN_SAMPLE * (2 if bool(plan.unnamed.any()) else 1)
    measured = 3 * (len(plan.rows) + settings.kappa_pool) + retained + 2 * held_out
    return settings.reference_samples + settings.probe_samples + measured


def calibrate(
    original: nn.Module,
    problem: Problem,
    plan: ForgetPlan,
    tasks: tuple[Task, ...],
    settings: CalibrationSettings,
    *,
    seed: int,
    device: torch.device,
    progress: Progress,
    clock: SnapshotClock,
    saved: Mapping[str, Any],
    precision: Precision = "float32",
) -> Calibration:
    """original: frozen, in evaluation mode, on the device; it is not changed. saved: an earlier attempt's
    snapshot, or nothing."""
    refuse_small_calibration(problem.calibration.present, problem.tasks, plan.forgotten.any(dim=0))
    order = _shuffled(plan.retained.any(dim=1).nonzero().flatten(), seed)
    spare = order[-min(settings.kappa_pool, len(order) // 2) :] if len(order) > 1 else order
    holdout = holdout_sample(problem.calibration.present, plan, seed)

    def look(
        network: nn.Module, rows: Tensor, note: str, *, held_out: bool = False, keep: bool = False
    ) -> Measurement:
        data = problem.calibration if held_out else problem.train
        return measure(
            network.to(device), tasks, data, rows,
            device=device, progress=progress, note=note, keep_outputs=keep, precision=precision,
        )  # fmt: skip

    own = look(original, plan.rows, "original on the forget set", keep=True)
    own_spare = look(original, spare, "original on spare instances", keep=True)
    own_holdout = look(original, holdout, "original on the holdout", held_out=True)
    kept = order[:RETAIN_SAMPLE]
    own_retained = look(original, kept, "original on retained instances")
    for said, where in ((own, "the forget set"), (own_holdout, "the holdout"), (own_retained, "the rest")):
        check_finite(said.losses.masked_fill(~said.present, 0.0).sum(), f"the original on {where}")

    lessons: dict[Companion, Lesson] = {
        "reference": Lesson(
            order[: max(1, len(order) - len(spare))], settings.reference_samples, settings.reference_batch
        ),
        "probe": Lesson(order, settings.probe_samples, settings.probe_batch),
    }
    networks, passes = train_companions(
        original, problem, plan, tasks, lessons,
        seed=seed, device=device, progress=progress, clock=clock, saved=saved, precision=precision,
    )  # fmt: skip
    reference, probe = networks["reference"], networks["probe"]
    seen = Seen(
        spare=spare,
        own=own,
        own_spare=own_spare,
        own_holdout=own_holdout,
        drifted=look(reference, plan.rows, "reference on the forget set", keep=True),
        drifted_spare=look(reference, spare, "reference on spare instances", keep=True),
        unseen=look(probe, plan.rows, "probe on the forget set"),
        unseen_holdout=look(probe, holdout, "probe on the holdout", held_out=True),
    )
    learned = plan.unnamed & torch.isin(plan.rows, lessons["probe"].rows)[:, None]
    unnamed, looks_at_kept = own.losses, 1
    if bool(learned.any()):
        beside = look(probe, kept, "probe on retained instances")
        unnamed = unnamed_targets(
            learned, own.losses, seen.unseen.losses, plan.retained[kept], own_retained.losses, beside.losses
        )
        looks_at_kept = 2

    believed, pool = settings.aim == "retraining", settings.kappa_pool
    teacher = {name: values.clone() for name, values in own.outputs.items()}
    goals = []
    for group in plan.groups:
        task = tasks[group.column]
        goal = goal_of(group, task, plan, problem.train, seen, pool=pool, believed=believed)
        teach(teacher, group, task, seen, goal.kappa)
        goals.append(goal)

    weight_of = task_weights(tasks, torch.device("cpu"))
    held_scores = [own_holdout.scores[own_holdout.present[:, c], c] for c in range(len(tasks))]
    looked = 3 * len(plan.rows) + 2 * len(spare) + 2 * len(holdout) + looks_at_kept * len(kept)
    return Calibration(
        goals=torch.tensor([goal.metric for goal in goals], dtype=torch.float64),
        reliability=torch.tensor([goal.reliability for goal in goals], dtype=torch.float64),
        kappas=torch.tensor([goal.kappa for goal in goals], dtype=torch.float64),
        targets=torch.cat([goal.targets for goal in goals]),
        teacher=teacher,
        losses=own.losses,
        unnamed=unnamed,
        spread=torch.stack([scores.std() * 100 for scores in held_scores]),
        holdout=torch.tensor([len(scores) for scores in held_scores]),
        rulers=fit_rulers(
            own_retained.losses, own_holdout.losses, plan.retained[kept], own_holdout.present
        ).to(device),
        retain_loss=float(training_loss(own_retained.losses, plan.retained[kept], weight_of)),
        holdout_loss=float(training_loss(own_holdout.losses, own_holdout.present, weight_of)),
        passes=passes,
        forward_passes=looked,
    )


def holdout_sample(present: Tensor, plan: ForgetPlan, seed: int) -> Tensor:
    """present: (n, T) of the calibration half → rows of it, all of them if there are no more than
    `HOLDOUT_SAMPLE`. Of a task that is forgotten and seldom labelled, up to `HELD_OUT_PER_TASK` more."""
    order = _shuffled(torch.arange(len(present)), seed)
    drawn = [order[:HOLDOUT_SAMPLE]]
    for column in plan.forgotten.any(dim=0).nonzero().flatten():
        drawn.append(order[present[order, column]][:HELD_OUT_PER_TASK])
    chosen = torch.zeros(len(present), dtype=torch.bool)
    chosen[torch.cat(drawn)] = True
    return chosen.nonzero().flatten()


def _shuffled(rows: Tensor, seed: int) -> Tensor:
    return rows[torch.randperm(len(rows), generator=derived_generator(seed, "calibration", len(rows)))]
