"""Plain training by gradient descent: what retraining, the reference and the probe have in common."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import cos, pi
from typing import Any, Literal

import torch
from torch import Tensor, nn

from worker.engine.contract import Data, Recipe, Refused
from worker.engine.forward import Precision, answers
from worker.engine.progress import Progress
from worker.engine.randomness import borrowed_global_generator, derive_seed, seed_global_generators
from worker.engine.room import Room, in_parts
from worker.engine.rows import RowStream
from worker.engine.sending import send
from worker.engine.supervision import Task, instance_losses, task_weights, training_loss

INSPECTION = 16
SGD_TO_ADAM = 1 / 30
_NORMALISATION = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass(frozen=True)
class Descent:
    """How to descend. learning_rate is the peak; `training_mode` is that of BatchNorm and dropout."""

    steps: int
    batch_size: int
    learning_rate: float
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    weight_decay: float = 0.0
    momentum: float = 0.9
    training_mode: bool = True

    def rate(self, step: int) -> float:
        """The learning rate of a step, 0 ≤ step < steps."""
        share = step / max(1, self.steps)
        factor = {"constant": 1.0, "linear": 1 - share, "cosine": (1 + cos(pi * share)) / 2}[self.schedule]
        return self.learning_rate * factor


@dataclass(frozen=True)
class Restart:
    """Where to take up from, and whom to offer snapshots to, after each step."""

    snapshot: Mapping[str, Any] | None
    offer: Callable[[Callable[[], Mapping[str, Any]]], None]


def adam_rate(recipe: Recipe) -> float:
    """L, the peak learning rate as Adam would have it. A rate for plain descent means about 30 times less."""
    return recipe.learning_rate * (SGD_TO_ADAM if recipe.optimizer == "sgd" else 1.0)


def descend(
    network: nn.Module,
    tasks: tuple[Task, ...],
    data: Data,
    retained: Tensor,
    descent: Descent,
    *,
    seed: int,
    label: str,
    device: torch.device,
    progress: Progress,
    restart: Restart | None = None,
    room: Room | None = None,
    precision: Precision = "float32",
) -> int:
    """Train `network` in place on the supervision that `retained` (N, T) leaves; returns instance passes.

    room: instances at once, where a batch need not be computed whole: the gradients are the same but for
    batch normalisation in training mode, which then normalises each part by itself.
    Raises `Refused`: loss_not_finite, batch_too_small, device_memory_too_small.
    """
    rows = retained.any(dim=1).nonzero().flatten()
    stream = RowStream(rows, descent.batch_size, seed=seed, label=label)
    optimizer = make_optimizer(network.parameters(), descent)
    weights = task_weights(tasks, device)
    room = room or Room(stream.batch_size)
    first = 0
    if restart is not None and restart.snapshot is not None:
        first = min(int(restart.snapshot["step"]), descent.steps)
        network.load_state_dict(restart.snapshot["network"])
        load_optimizer(optimizer, restart.snapshot["optimizer"])
        progress.done = min(progress.total, progress.done + first * stream.batch_size)

    def backward(rows: Tensor, counts: Tensor | None) -> Tensor:
        batch = data.fetch(rows).to(device)
        losses = instance_losses(tasks, _said(network, batch.inputs, precision), batch)
        loss = training_loss(losses, send(retained[rows], device), weights, counts)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def counted(rows: Tensor) -> Tensor:
        return send(retained[rows], device).sum(dim=0).clamp(min=1)

    _set_mode(network, descent.training_mode)
    passes = first * stream.batch_size
    with borrowed_global_generator(derive_seed(seed, label), device):
        for step in range(first, descent.steps):
            chosen, drawn = stream.batch(step), derive_seed(seed, label, "step", step)

            def attempt(most: int, chosen: Tensor = chosen, drawn: int = drawn) -> Tensor:
                optimizer.zero_grad(set_to_none=True)
                seed_global_generators(drawn, device)
                parts = in_parts(chosen, most)
                counts = counted(chosen) if len(parts) > 1 else None
                return torch.stack([backward(part, counts) for part in parts]).sum(dim=0)

            loss = room.run(attempt)
            if step % INSPECTION == 0:
                check_finite(loss, label)
            for group in optimizer.param_groups:
                group["lr"] = descent.rate(step)
            optimizer.step()
            passes += len(chosen)
            if restart is not None:
                done = step + 1
                restart.offer(lambda done=done: _snapshot(network, optimizer, done))  # type: ignore[misc]
            progress.advance(len(chosen), label)
    for parameter in network.parameters():  # a last step may have broken what no later loss would show
        check_finite(parameter.detach().sum(), label)
    network.eval()
    return passes


def _set_mode(network: nn.Module, training: bool) -> None:
    """A normalisation whose parameters are all frozen keeps its statistics, too, and normalises by them."""
    network.train(training)
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        if own and isinstance(module, _NORMALISATION) and not any(one.requires_grad for one in own):
            module.eval()


def _said(network: nn.Module, inputs: Tensor, precision: Precision) -> Mapping[str, Tensor]:
    """Raises `Refused("batch_too_small")`: torch alone knows which layers cannot normalise one instance."""
    try:
        return answers(network, inputs, precision)
    except ValueError as error:
        if len(inputs) > 1 or "more than 1 value per channel" not in str(error):
            raise
        raise Refused(
            "batch_too_small",
            "Batch normalisation cannot train on a single instance: keep two instances or more, and use a "
            "recipe with a batch size of at least 2.",
        ) from error


def make_optimizer(parameters: Iterable[nn.Parameter], descent: Descent) -> torch.optim.Optimizer:
    """Fused kernels: on small networks the optimizer's own overhead would dominate."""
    if descent.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=descent.learning_rate,
            momentum=descent.momentum,
            weight_decay=descent.weight_decay,
            fused=True,
        )
    kind = torch.optim.AdamW if descent.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=descent.learning_rate, weight_decay=descent.weight_decay, fused=True)


def check_finite(loss: Tensor, label: str) -> None:
    """Raises `Refused("loss_not_finite")`."""
    if not bool(loss.isfinite()):
        raise Refused(
            "loss_not_finite",
            f"The loss became NaN or infinite ({label}). Check the checkpoint, the range of the inputs "
            "and targets, and the recipe's learning rate.",
        )


def optimizer_snapshot(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's tensors per parameter number; hyper-parameters are set anew at every step."""
    state = optimizer.state_dict()["state"]
    return {
        str(index): {name: value for name, value in slots.items() if isinstance(value, Tensor)}
        for index, slots in state.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """The inverse of `optimizer_snapshot`."""
    state = {int(index): dict(slots) for index, slots in saved.items()}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _snapshot(network: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> dict[str, Any]:
    return {"step": step, "network": dict(network.state_dict()), "optimizer": optimizer_snapshot(optimizer)}
