"""What the forget set should look like afterwards, estimated per request: nothing here is tuned by hand.

Calibrated on the calibration half of the holdout, a reference E and a probe P, at a cost that does not grow
with the training data. G is the number of forget groups, F of forget instances, T of tasks.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from worker.engine.contract import Problem
from worker.engine.data.holdout import refuse_small_calibration
from worker.engine.descent import Descent, Restart, adam_rate, check_finite, descend
from worker.engine.forget_groups import ForgetGroup, ForgetPlan
from worker.engine.forward import Precision
from worker.engine.loss_rulers import LossRulers, fit_rulers
from worker.engine.measurement import Measurement, measure
from worker.engine.percentile import percentiles, reliability, target_losses
from worker.engine.probe import shrink_and_perturb
from worker.engine.progress import Progress
from worker.engine.randomness import derived_generator
from worker.engine.room import room_to_train
from worker.engine.snapshots import SnapshotClock
from worker.engine.supervision import Task, task_weights, training_loss
from worker.engine.teacher import KAPPAS, extrapolate, scores_along, smallest_kappa
from worker.engine.unnamed_labels import unnamed_targets

RETAIN_SAMPLE = 512
HOLDOUT_SAMPLE = 1024
HELD_OUT_PER_TASK = 256
POOLED_AT_ONCE = 64  # instances whose held outputs are looked at together


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
    for seen, where in ((own, "the forget set"), (own_holdout, "the holdout"), (own_retained, "the rest")):
        check_finite(seen.losses.masked_fill(~seen.present, 0.0).sum(), f"the original on {where}")

    pools = {"reference": order[: max(1, len(order) - len(spare))], "probe": order}
    networks: dict[str, nn.Module] = {}
    passes = 0
    finished: dict[str, Any] = {}
    for name in ("reference", "probe"):
        network, cost = _train_companion(
            name, original, problem, plan, tasks, pools[name], settings,
            seed=seed, device=device, progress=progress,
            restart=Restart(saved.get(name), _offering(clock, name, dict(finished))), precision=precision,
        )  # fmt: skip
        network.to("cpu")  # until it is looked at: the next one is trained in the meantime
        finished[name] = {
            "step": cost,  # passes, no fewer than steps: nothing is left to do
            "network": dict(network.state_dict()),
            "optimizer": {},
        }
        networks[name] = network
        passes += cost

    drifted = look(networks["reference"], plan.rows, "reference on the forget set", keep=True)
    drifted_spare = look(networks["reference"], spare, "reference on spare instances", keep=True)
    unseen = look(networks["probe"], plan.rows, "probe on the forget set")
    unseen_holdout = look(networks["probe"], holdout, "probe on the holdout", held_out=True)
    learned = plan.unnamed & torch.isin(plan.rows, pools["probe"][: settings.probe_samples])[:, None]
    unnamed, compared = own.losses, 0
    if bool(learned.any()):
        beside = look(networks["probe"], kept, "probe on retained instances")
        unnamed = unnamed_targets(
            learned, own.losses, unseen.losses, plan.retained[kept], own_retained.losses, beside.losses
        )
        compared = len(kept)

    teacher = {name: values.clone() for name, values in own.outputs.items()}
    goals, weights, kappas, targets = [], [], [], []
    for group in plan.groups:
        task, column = tasks[group.column], group.column
        held = own_holdout.present[:, column]
        percentile = percentiles(unseen.losses[group.members, column], unseen_holdout.losses[held, column])
        weight = (
            reliability(own_holdout.losses[held, column], unseen_holdout.losses[held, column])
            if settings.aim == "retraining"
            else 0.0
        )
        typical = own_holdout.points(column)
        shift = unseen.points(column, _among(group, unseen)) - unseen_holdout.points(column)
        goal = min(100.0, max(0.0, typical + weight * shift))
        kappa = _pooled_kappa(
            task, group, plan, problem, spare, goal, typical,
            own, own_spare, drifted, drifted_spare, settings.kappa_pool,
        )  # fmt: skip
        for members in torch.split(group.members, POOLED_AT_ONCE):
            places = members.to(teacher[task.name].device)
            before, after = own.outputs[task.name][places], drifted.outputs[task.name][places]
            teacher[task.name][places] = extrapolate(before.float(), after.float(), kappa).to(before.dtype)
        goals.append(goal)
        weights.append(weight)
        kappas.append(kappa)
        targets.append(target_losses(percentile, own_holdout.losses[held, column], weight))

    weight_of = task_weights(tasks, torch.device("cpu"))
    held_scores = [own_holdout.scores[own_holdout.present[:, c], c] for c in range(len(tasks))]
    return Calibration(
        goals=torch.tensor(goals, dtype=torch.float64),
        reliability=torch.tensor(weights, dtype=torch.float64),
        kappas=torch.tensor(kappas, dtype=torch.float64),
        targets=torch.cat(targets),
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
        forward_passes=3 * len(plan.rows) + 2 * len(spare) + 2 * len(holdout) + len(kept) + compared,
    )


def _train_companion(
    name: str,
    original: nn.Module,
    problem: Problem,
    plan: ForgetPlan,
    tasks: tuple[Task, ...],
    pool: Tensor,
    settings: CalibrationSettings,
    *,
    seed: int,
    device: torch.device,
    progress: Progress,
    restart: Restart,
    precision: Precision,
) -> tuple[nn.Module, int]:
    """The reference E (a copy of O that learns on) or the probe P, trained on `pool` rows of R."""
    reference = name == "reference"
    samples = settings.reference_samples if reference else settings.probe_samples
    batch = settings.reference_batch if reference else settings.probe_batch
    if reference:
        network = copy.deepcopy(original)
    else:
        network = shrink_and_perturb(problem.network, problem.build, seed=seed).to(device)
    for parameter, registered in zip(network.parameters(), problem.network.parameters(), strict=True):
        parameter.requires_grad_(registered.requires_grad)
    sample = torch.zeros_like(plan.retained)
    sample[pool[:samples]] = plan.retained[pool[:samples]]
    passes = descend(
        network,
        tasks,
        problem.train,
        sample,
        Descent(
            steps=max(1, samples // batch),
            batch_size=batch,
            learning_rate=adam_rate(problem.recipe),
            schedule="linear",
            training_mode=not reference,
        ),
        seed=seed,
        label=name,
        device=device,
        progress=progress,
        restart=restart,
        room=room_to_train(problem.train, problem.recipe, batch),
        precision=precision,
    )
    return network, passes


def _offering(
    clock: SnapshotClock, name: str, finished: Mapping[str, Any]
) -> Callable[[Callable[[], Mapping[str, Any]]], None]:
    """Offer one companion's state together with those that are finished."""
    return lambda state: clock.offer(lambda: {**finished, name: state()})


def _pooled_kappa(
    task: Task,
    group: ForgetGroup,
    plan: ForgetPlan,
    problem: Problem,
    spare: Tensor,
    goal: float,
    typical: float,
    own: Measurement,
    own_spare: Measurement,
    drifted: Measurement,
    drifted_spare: Measurement,
    pool: int,
) -> float:
    """κ on the group; a group smaller than the pool is filled up with retained instances that the reference
    did not see either, whose goal is the held-out metric."""
    fill = plan.retained[spare, group.column].nonzero().flatten()[: max(0, pool - len(group.members))]
    pooled = len(group.members) + len(fill)
    metrics = torch.zeros(len(KAPPAS), dtype=torch.float64)
    for places, rows, before, after in (
        (group.members, plan.rows, own.outputs, drifted.outputs),
        (fill, spare, own_spare.outputs, drifted_spare.outputs),
    ):
        for some in torch.split(places, POOLED_AT_ONCE):
            targets = problem.train.fetch(rows[some]).targets[task.name].to(task.ruler.device)
            metrics += scores_along(task, _held(before, task, some), _held(after, task, some), targets)
    blended = (goal * len(group.members) + typical * len(fill)) / pooled
    return smallest_kappa(metrics * 100 / pooled, blended)


def _held(outputs: Mapping[str, Tensor], task: Task, places: Tensor) -> Tensor:
    """Some of the outputs that a measurement held, on the run's device and in full precision."""
    values = outputs[task.name]
    return values[places.to(values.device)].to(task.ruler.device, torch.float32)


def _among(group: ForgetGroup, measured: Measurement) -> Tensor:
    mask = torch.zeros(len(measured.losses), dtype=torch.bool)
    mask[group.members] = True
    return mask


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
