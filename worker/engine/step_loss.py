"""What a step asks of the network: to stay as it was on what is retained, and to forget the rest.

f is the number of forget instances of a part, r of retained ones, F of all forget instances, T of tasks.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from worker.engine.calibration import Calibration
from worker.engine.contract import Batch
from worker.engine.forget_groups import ForgetPlan
from worker.engine.forget_loss import forget_distances, rank_table
from worker.engine.forget_weights import ForgetWeights
from worker.engine.loss_rulers import LossRulers
from worker.engine.original_answers import OriginalAnswers
from worker.engine.sending import send
from worker.engine.step_parts import StepCounts, StepPart
from worker.engine.supervision import Task, instance_divergences, instance_losses, task_weights, training_loss

RETAIN_WEIGHT = 5.0
WEIGHT_BELOW = 0.5


@dataclass(frozen=True)
class PartLoss:
    """What a part of a step's instances contributes, None where it has nothing to.

    retain: L_r, a scalar. forget: L_f per task (T,). seen: the bare retain loss of the retained instances,
    which the trust region watches.
    """

    retain: Tensor | None
    forget: Tensor | None
    seen: Tensor | None

    def total(self) -> Tensor:
        """The sum of what there is: something, of any part."""
        if self.forget is None or self.retain is None:
            return torch.as_tensor(self.retain if self.forget is None else self.forget.sum())
        return self.retain + self.forget.sum()


@dataclass(frozen=True)
class Aims:
    """What divergences are taken from, per task (f + r, …): z^κ of forget instances, then z^O of retained
    ones; and the original's losses of the latter, (r, T), if there are any. positions: (f,), the part's, on
    the device."""

    answers: Mapping[str, Tensor]
    losses: Tensor | None
    positions: Tensor


class StepLoss:
    """The losses of one run. It remembers the last loss of every forget instance, for their ranks."""

    def __init__(
        self,
        plan: ForgetPlan,
        tasks: tuple[Task, ...],
        calibration: Calibration,
        original: OriginalAnswers,
        device: torch.device,
    ) -> None:
        self._tasks = tasks
        self._device = device
        self._original = original
        self._teacher = calibration.teacher
        self._staying = ~plan.forgotten.to(device)
        self._unnamed = calibration.unnamed.to(device)
        self._weights = task_weights(tasks, device)
        self.rulers = calibration.rulers.to(device)
        self._table = rank_table(plan, calibration.losses, calibration.targets, self.rulers, device)
        self.forget_weights = ForgetWeights(len(tasks), device)

    @property
    def last_losses(self) -> Tensor:
        """(F, T), last seen; it may be written to."""
        return self._table.losses

    @property
    def missing(self) -> Tensor:
        """(T,) of the targets, as `ForgetWeights` has it."""
        return self._table.missing(self.rulers)

    def move_targets(self, rulers: LossRulers) -> None:
        """Measure by these rulers from now on. Targets keep their places among held-out losses."""
        self.rulers = rulers
        self._table.move_targets(rulers)

    def aims(self, part: StepPart, batch: Batch) -> Aims:
        """Ask before the network computes the part: what the original needs is then free again. In the
        outputs' type, on the device, wherever and however the teacher is held."""
        count = len(part.positions)
        positions = send(part.positions, self._device)
        if count == 0:
            return Aims(*self._original.of(part.kept, batch, 0), positions)
        taught = {}
        for name, values in self._teacher.items():
            own = part.positions if values.device.type == "cpu" else positions
            taught[name] = send(values[own], self._device).float()
        if len(part.kept) == 0:
            return Aims(taught, None, positions)
        fresh, had = self._original.of(part.kept, batch, count)
        return Aims({name: torch.cat([taught[name], fresh[name]]) for name in fresh}, had, positions)

    def of(
        self,
        part: StepPart,
        batch: Batch,
        outputs: Mapping[str, Tensor],
        aims: Aims,
        retained: Tensor | None,
        counts: StepCounts,
    ) -> PartLoss:
        """retained: (f + r, T) on the device, of the part's forget instances and then of its retained ones;
        None if that is nothing.

        Retained supervision of the forget instances counts as retained: their un-named tasks.
        """
        count, total = len(part.positions), len(part.positions) + len(part.kept)
        losses = instance_losses(self._tasks, outputs, batch)
        far, had = instance_divergences(self._tasks, outputs, aims.answers), aims.losses
        if had is None:
            keep, forget = self._left(aims, losses, far), self._forget(aims, losses, far, counts)
        elif count == 0:
            keep, forget = departures(losses, had, far), None
        else:
            sides = [count, total - count]
            lost, stays = torch.split(losses, sides)
            far_gone, far_kept = torch.split(far, sides)
            forget = self._forget(aims, lost, far_gone, counts)
            keep = torch.cat([self._left(aims, lost, far_gone), departures(stays, had, far_kept)])
        if retained is None:
            return PartLoss(None, forget, None)
        measured = keep / self.rulers.scales
        retain = RETAIN_WEIGHT * training_loss(measured, retained, self._weights, counts.retained)
        if count == total:
            return PartLoss(retain, forget, None)
        bare = losses.detach()[count:]
        return PartLoss(retain, forget, training_loss(bare, retained[count:], self._weights, counts.observed))

    def _left(self, aims: Aims, losses: Tensor, divergences: Tensor) -> Tensor:
        """(f, T), of losses and divergences (f, T): how far labels that forget instances keep are from where
        they are to end, and their outputs from where they were; of others it means nothing."""
        return (losses - self._unnamed[aims.positions]).abs() + divergences

    def _forget(self, aims: Aims, losses: Tensor, divergences: Tensor, counts: StepCounts) -> Tensor:
        """L_f (T,), of losses and divergences (f, T)."""
        positions = aims.positions
        targets = self._table.look_up(positions, losses.detach())
        distance = forget_distances(losses, targets, divergences, self.rulers)
        staying = self._staying[positions]
        weights = self._weights * self.forget_weights.factors
        return distance.masked_fill(staying, 0.0).sum(dim=0) / counts.forget * weights


def departures(losses: Tensor, had: Tensor, divergences: Tensor) -> Tensor:
    """(r, T) each → how far what is retained is from where it was, in losses and in outputs.

    A loss below the original's own is a departure, too, or a task that it had not learned to the end would be
    trained on. It counts `WEIGHT_BELOW`, because noise only ever adds to losses: with both sides alike, each
    version would end a little above the one before, and a line of requests would lose what is retained.
    """
    return leaky_relu(losses - had, -WEIGHT_BELOW) + divergences
