"""The unlearning loop: a copy of the original, moved until the request looks like data it never saw.

Per step, up to `Budget.batch_size` forget instances and always `RETAIN_RATIO` times that many retained ones:
a request of one instance must not be answered by gradients over two. What a task's gradients span is found
from microbatches of `BASIS_RATIO` times as many again. F forget instances, T tasks. The weight of retaining,
the rate and the ratios are one setting for everything, chosen on development seeds.
"""

import copy
from collections.abc import Mapping
from dataclasses import asdict, replace
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from worker.engine.anchor import Anchor
from worker.engine.calibration import Calibration
from worker.engine.contract import Problem
from worker.engine.descent import adam_rate, check_finite, load_optimizer, optimizer_snapshot
from worker.engine.forget_groups import ForgetPlan
from worker.engine.forget_weights import BEGIN
from worker.engine.forward import Precision, answers
from worker.engine.guards import FlatGradients, PartPulls, Pull, guarded_gradients, pull_of
from worker.engine.loss_rulers import LossRulers
from worker.engine.measurement import Measurement
from worker.engine.original_answers import OriginalAnswers
from worker.engine.parameters import split_parameters
from worker.engine.room import Room, in_parts, room_to_train
from worker.engine.rows import RowStream
from worker.engine.sending import send
from worker.engine.step_loss import PartLoss, StepLoss
from worker.engine.step_parts import StepPart, count_step, split_step, with_places
from worker.engine.supervision import Task, instance_losses
from worker.engine.task_subspaces import MICROBATCHES, TaskSubspaces, estimate_subspaces
from worker.engine.trust_region import Guards, TrustRegion

RATE_SHARE = 1 / 2
FEWEST_ROUNDS = 3.5
ROUNDS_AT_FULL_RATE = 2.5
SLOWEST = 2 / 3
WARM_UP = 0.1
MEAN_RATE_FACTOR = 0.5
INSPECTION = 4
BASIS_LIFETIME = 100
RETAIN_RATIO = 2
BASIS_RATIO = 3

Outputs = Mapping[str, Tensor]


class Unlearning:
    """U and everything that changes with it. `step` moves it; `snapshot` and `restore` lose no bit."""

    def __init__(
        self,
        original: nn.Module,
        problem: Problem,
        plan: ForgetPlan,
        tasks: tuple[Task, ...],
        calibration: Calibration,
        *,
        steps: int,
        batch_size: int,
        retain_batch_size: int,
        seed: int,
        device: torch.device,
        precision: Precision = "float32",
        guards: Guards = "when_needed",
    ) -> None:
        self.network = copy.deepcopy(original).eval()
        self.done = 0
        self.steps = steps
        self.region = TrustRegion(calibration.retain_loss, calibration.holdout_loss, guards=guards)
        self._precision: Precision = precision
        self._data = problem.train
        self._tasks = tasks
        self._device = device
        self._peak = adam_rate(problem.recipe) * rate_share(len(plan.rows), batch_size)
        self._rows = plan.rows
        self._retained_rows = plan.retained
        self._named = [column for column in range(len(tasks)) if bool(plan.forgotten[:, column].any())]
        self._shared, self._heads = split_parameters(
            self.network, problem.network, [tasks[column].name for column in self._named]
        )
        self._optimizer = torch.optim.Adam(
            [*self._shared, *self._heads], lr=self._peak, betas=(0.9, 0.99), fused=True
        )
        self._kept = [parameter.detach().clone() for parameter in self._parameters]
        self._observed: list[Tensor] = []
        self._subspaces: TaskSubspaces | None = None
        self._flat: FlatGradients | None = None
        self._basis_step = 0
        self.basis_passes = 0
        self._room = room_to_train(problem.train, problem.recipe, batch_size + retain_batch_size)
        self._forget_stream = RowStream(torch.arange(len(plan.rows)), batch_size, seed=seed, label="forget")
        pool = plan.retained.any(dim=1).nonzero().flatten()
        self._retain_stream = RowStream(pool, retain_batch_size, seed=seed, label="retain")
        self._basis_stream = RowStream(pool, BASIS_RATIO * retain_batch_size, seed=seed, label="basis")
        draws = steps * self._retain_stream.batch_size
        self._anchor = Anchor(self.network, original, steps=steps, draws=draws, pool=len(pool))
        self._original = OriginalAnswers(original, tasks, self._data, pool, draws, device, precision)
        self._loss = StepLoss(plan, tasks, calibration, self._original, device)
        self._kept_rulers = self._loss.rulers

    @property
    def instances_per_step(self) -> int:
        return self._forget_stream.batch_size + self._retain_stream.batch_size

    @property
    def rows_of_step(self) -> Tensor:
        """Training rows of the step to come: forget instances, then retained ones."""
        return torch.cat(
            [self._rows[self._forget_stream.batch(self.done)], self._retain_stream.batch(self.done)]
        )

    @property
    def original_passes(self) -> int:
        """Forward passes of the original so far, in instances."""
        return self._original.passes or self.done * self._retain_stream.batch_size

    @property
    def forget_factors(self) -> list[float]:
        """(T,) what forgetting weighs by now."""
        factors: list[float] = self._loss.forget_weights.factors.tolist()
        return factors

    @property
    def _parameters(self) -> list[nn.Parameter]:
        return [*self._shared, *self._heads]

    def step(self) -> None:
        """One update. Raises `Refused("loss_not_finite")` within `INSPECTION` steps of the fact."""
        observed = self._room.run(self.leave_gradients)
        factor = self._rate_factor()
        for settings in self._optimizer.param_groups:
            settings["lr"] = self._peak * factor
        self._optimizer.step()
        self._anchor.pull(factor / MEAN_RATE_FACTOR)
        self._observed.append(observed)
        self.done += 1
        if self.done % INSPECTION == 0 or self.done == self.steps:
            self._inspect()

    def follow(self, held_out: Measurement) -> None:
        """Held-out losses of the network as it is now: what is forgotten is to lie among these.
        Raises `Refused("loss_not_finite")`."""
        check_finite(held_out.losses.masked_fill(~held_out.present, 0.0).sum(), "unlearning")
        self._loss.move_targets(self._loss.rulers.moved_to(held_out.losses, held_out.present))

    def snapshot(self) -> dict[str, Any]:
        """Everything that `resume` needs to go on to the same bits."""
        return {
            "done": self.done,
            "network": dict(self.network.state_dict()),
            "optimizer": optimizer_snapshot(self._optimizer),
            "region": asdict(self.region),
            "kept": {str(index): values for index, values in enumerate(self._kept)},
            "subspaces": None if self._subspaces is None else self._subspaces.state(),
            "room": self._room.instances,
            "basis_step": self._basis_step,
            "basis_passes": self.basis_passes,
            "observed": {str(index): value for index, value in enumerate(self._observed)},
            "losses": self._loss.last_losses,
            "knots": self._loss.rulers.knots,
            "kept_knots": self._kept_rulers.knots,
            "forget_weights": self._loss.forget_weights.logarithms,
        }

    def resume(self, saved: Mapping[str, Any]) -> None:
        """Take up where `snapshot` was taken."""
        self.done = int(saved["done"])
        self.network.load_state_dict(saved["network"])
        load_optimizer(self._optimizer, saved["optimizer"])
        self.region = TrustRegion(**saved["region"])
        self._kept = _in_order(saved["kept"], self._device)
        found = saved["subspaces"]
        self._subspaces = None if found is None else TaskSubspaces.from_state(found, self._device)
        self._room = Room(int(saved["room"]))
        self._basis_step = int(saved["basis_step"])
        self.basis_passes = int(saved["basis_passes"])
        self._observed = _in_order(saved["observed"], self._device)
        self._loss.last_losses.copy_(saved["losses"])
        self._loss.move_targets(self._rulers_with(saved["knots"]))
        self._kept_rulers = self._rulers_with(saved["kept_knots"])
        self._loss.forget_weights.logarithms.copy_(saved["forget_weights"])

    def _rulers_with(self, knots: Tensor) -> LossRulers:
        return replace(self._loss.rulers, knots=knots.to(self._device))

    def leave_gradients(self, most: int) -> Tensor:
        """Leave the gradients of this step's loss in the parameters, bent by the guards if they are engaged;
        the bare retain loss. They do not depend on `most`, the number of instances that are computed at once,
        and nothing else changes that another attempt with a smaller one would not put right."""
        positions, kept = self._forget_stream.batch(self.done), self._retain_stream.batch(self.done)
        guarded = self.region.guarded and len(self._shared) > 0
        parts = with_places(split_step(positions, kept, most, apart=guarded))
        rows = torch.cat([self._rows[positions], kept])
        retained = self._retained_rows[rows]
        asked = send(retained, self._device)
        counts = count_step(asked, len(positions))
        self._optimizer.zero_grad(set_to_none=True)
        if len(positions) > most:
            self._rank_before(positions, most)
        subspaces = self._engage_guards(most) if guarded else None
        observed: list[Tensor] = []

        def losses(part: StepPart, mine: slice) -> tuple[PartLoss, Outputs, Outputs, Tensor]:
            """Its losses, the outputs, what the losses know of them, and what the part retains."""
            batch = self._data.fetch(rows[mine]).to(self._device)
            aims = self._loss.aims(part, batch)
            outputs = answers(self.network, batch.inputs, self._precision)
            felt = _cut(outputs) if guarded and len(part.positions) else outputs
            keeps = len(part.kept) or bool(retained[mine].any())
            loss = self._loss.of(part, batch, felt, aims, asked[mine] if keeps else None, counts)
            if loss.seen is not None:
                observed.append(loss.seen)
            return loss, outputs, felt, retained[mine]

        # Nothing of a part is held on to when the next one's turn comes.
        if subspaces is None:
            for part, mine in parts:
                losses(part, mine)[0].total().backward()  # type: ignore[no-untyped-call]
        else:
            pulls = (self._pulls(*losses(part, mine)) for part, mine in parts)
            self._flat = self._flat or FlatGradients.of(self._shared, len(self._named))
            bent = guarded_gradients(pulls, subspaces, self._named, self._shared, self._heads, self._flat)
            for parameter, gradient in zip(self._parameters, bent, strict=True):
                parameter.grad = gradient
        return observed[0] if len(observed) == 1 else torch.stack(observed).sum(dim=0)

    def _pulls(self, loss: PartLoss, outputs: Outputs, felt: Outputs, retained: Tensor) -> PartPulls:
        """A task's losses depend on its own outputs alone: how all of them do is found at once, and only what
        is below the outputs takes a backward pass for each."""
        if loss.forget is None:
            return PartPulls(None if loss.retain is None else Pull([loss.retain], [None]), {})
        names = [task.name for task in self._tasks]
        retain, forget = None, dict[int, Pull]()
        if loss.retain is not None:
            found = _gradients(loss.retain, felt, keep=True)
            kept = retained.any(dim=0).tolist()
            felt_by = {name for name, any_kept in zip(names, kept, strict=True) if any_kept}
            retain = pull_of(outputs, {name: found[name] for name in found if name in felt_by})
        found = _gradients(loss.forget.sum(), felt)
        for column in self._named:
            pull = pull_of(outputs, {names[column]: found[names[column]]})
            forget |= {} if pull is None else {column: pull}
        return PartPulls(retain, forget)

    def _rank_before(self, positions: Tensor, most: int) -> None:
        """Losses of forget instances that are computed in several parts, so that each part's are ranked among
        those of all."""
        for some in in_parts(positions, most):
            batch = self._data.fetch(self._rows[some]).to(self._device)
            with torch.no_grad():
                losses = instance_losses(
                    self._tasks, answers(self.network, batch.inputs, self._precision), batch
                )
            self._loss.last_losses[send(some, self._device)] = losses

    def _rate_factor(self) -> float:
        """Linear warm-up over `WARM_UP` of the steps, then linear decay to 0."""
        warm = max(1.0, WARM_UP * self.steps)
        factor = min((self.done + 1) / warm, (self.steps - self.done) / max(1.0, self.steps - warm), 1.0)
        return factor * self.region.rate

    def _inspect(self) -> None:
        observed = torch.stack(self._observed).tolist()  # the only place where the host waits for the device
        check_finite(torch.tensor(sum(observed)), "unlearning")
        self._observed = []
        self.region, verdict = self.region.observe(observed)
        if verdict == "snapshot":
            torch._foreach_copy_(self._kept, [parameter.detach() for parameter in self._parameters])
            self._kept_rulers = self._loss.rulers
        elif verdict == "restore":
            with torch.no_grad():
                torch._foreach_copy_([*self._parameters], self._kept)
            for slots in self._optimizer.state.values():
                slots["exp_avg"].zero_()  # the momentum that led out of the region
            self._subspaces = None
            self._loss.move_targets(self._kept_rulers)
            self._loss.forget_weights.reset()
            return
        if self.done >= BEGIN * self.steps:
            self._loss.forget_weights.ascend(self._loss.missing, INSPECTION / self.steps)

    def _engage_guards(self, most: int) -> TaskSubspaces:
        """The other tasks' subspaces, found anew after every violation and every `BASIS_LIFETIME` steps.
        Half as many instances at once as in a step: their gradients need room beside them."""
        if self._subspaces is not None and self.done - self._basis_step < BASIS_LIFETIME:
            return self._subspaces
        self._subspaces = self._flat = None  # before the new ones need their room
        first = self.done * MICROBATCHES
        batches = [self._basis_stream.batch(first + index) for index in range(MICROBATCHES)]
        self._subspaces = estimate_subspaces(
            self.network, self._tasks, self._data, self._retained_rows, batches, self._named, self._shared,
            self._device, most=max(1, most // 2), precision=self._precision,
        )  # fmt: skip
        self._basis_step = self.done
        self.basis_passes += sum(len(rows) for rows in batches)
        return self._subspaces


def planned_steps(visits: float, instances: int, batch: int) -> int:
    """A round takes every forget instance once. Requests of few rounds are visited more often."""
    return ceil(visits * max(FEWEST_ROUNDS, instances / batch))


def rate_share(instances: int, batch: int) -> float:
    """The peak rate as a share of the recipe's. Adam's steps are of full length whatever the gradient: what a
    small request has to move for is done at once, and what its steps broke beside it takes many to mend."""
    return RATE_SHARE * min(1.0, max(SLOWEST, instances / batch / ROUNDS_AT_FULL_RATE))


def _cut(outputs: Outputs) -> Outputs:
    """The same values, at which a backward pass ends."""
    return {name: values.detach().requires_grad_(True) for name, values in outputs.items()}


def _gradients(loss: Tensor, outputs: Outputs, *, keep: bool = False) -> Outputs:
    """∂ loss / ∂ outputs, of those that it depends on."""
    found: Any = torch.autograd.grad(loss, [*outputs.values()], retain_graph=keep, allow_unused=True)
    pairs = zip(outputs, found, strict=True)
    return {name: gradient for name, gradient in pairs if gradient is not None}


def _in_order(saved: Mapping[str, Tensor], device: torch.device) -> list[Tensor]:
    return [saved[key].to(device).clone() for key in sorted(saved, key=int)]
