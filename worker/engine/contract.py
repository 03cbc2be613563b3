"""What every unlearning method receives and returns: tensors in, tensors out.

Nothing here, or below `worker.engine`, knows of HTTP, SQL, Celery or pydantic.

Words (docs/engine.md): *supervision* is one (instance, task) label. A request forgets supervision,
not rows. N is the number of training instances, T the number of tasks, in the order of `tasks`. `rows` are
int64 and masks (`present`, `retained`) bool tensors, on the CPU unless it says otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from worker.engine.sending import send

Guarantee = Literal["exact", "empirical"]


class Refused(ValueError):
    """The engine will not run this: the message says why and what to do instead.

    `code` is stable (snake_case) and reaches the client as the job's error code.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Interrupted(Exception):
    """Raised by a `Monitor` to stop a run at once: cancelled, drained, or the lease was lost."""


@dataclass(frozen=True)
class TaskSpec:
    """One task of a network.

    name: the head's name, and the target array's name in the data.
    kind: a key of `worker.engine.tasks.TASK_KINDS`, such as "classification" or "regression".
    outputs: width of the head: number of classes, or number of regressed values.
    """

    name: str
    kind: str
    outputs: int


@dataclass(frozen=True)
class Batch:
    """inputs: (B, ...) as the network takes them. targets: per task (B, ...). present: (B, T), True
    where the supervision exists; a target whose supervision is missing holds any finite filler."""

    inputs: Tensor
    targets: Mapping[str, Tensor]
    present: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        if device.type == "cpu":
            return self
        return Batch(
            send(self.inputs, device),
            {name: send(target, device) for name, target in self.targets.items()},
            send(self.present, device),
        )


class Data(Protocol):
    """Instances with per-task targets, fetched by row, so that a data set need not fit in memory."""

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def present(self) -> Tensor:
        """(N, T) bool, in the order of the tasks the data was opened with."""
        ...

    def __len__(self) -> int: ...

    def fetch(self, rows: Tensor) -> Batch:
        """rows: (B,), on the CPU; the batch comes back on the CPU."""
        ...


@dataclass(frozen=True)
class ForgetRequest:
    """The share of one deletion request: `rows` (n,) sorted and unique, `tasks` as column numbers.

    again: an earlier job had it forgotten, and it came back: its goals are its own. remembered: forgotten
    once, but not by the network that a run starts from.
    """

    reference: str
    rows: Tensor
    tasks: tuple[int, ...]
    again: bool = False
    remembered: bool = False


@dataclass(frozen=True)
class ForgetSet:
    """The supervision that one job forgets: an instance x task mask, kept per request.

    `excluded` is supervision forgotten by earlier jobs: it is neither retained nor forgotten again.
    """

    instances: int
    tasks: int
    requests: tuple[ForgetRequest, ...]
    excluded: tuple[ForgetRequest, ...] = ()

    def mask(self) -> Tensor:
        """(N, T), True where this job forgets."""
        return _mask(self.instances, self.tasks, self.requests)

    def retained(self, present: Tensor) -> Tensor:
        """(N, T), True where supervision exists and stays in force; un-named tasks of the very
        instances in the forget set included."""
        gone = self.mask() | _mask(self.instances, self.tasks, self.excluded)
        return present & ~gone


@dataclass(frozen=True)
class Recipe:
    """How the network was trained: what exact retraining and the method's step sizes need.

    learning_rate is the peak. schedule is over the whole run. seed names the initialisation.
    """

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 1e-3
    epochs: int = 30
    batch_size: int = 32
    weight_decay: float = 0.0
    momentum: float = 0.9
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    loss_weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Budget:
    """What a run may cost. visits: forward-backward passes per forget instance; for a few instances
    more, see `planned_steps`. scale multiplies it when a candidate missed a gate and the policy says to
    try harder."""

    visits: int = 60
    batch_size: int = 8
    scale: float = 1.0


class Monitor(Protocol):
    """The engine's only way out and in while it runs. Called between steps, never inside one."""

    def progress(self, done: int, total: int, note: str) -> None:
        """May raise `Interrupted`."""
        ...

    def save(self, snapshot: Mapping[str, Any]) -> None:
        """Offer a snapshot (tensors, numbers, strings, nested mappings) to resume from. The monitor
        may ignore it; it must not keep references to the tensors after it returns."""
        ...

    def resume(self) -> Mapping[str, Any] | None:
        """The last snapshot of an earlier attempt at the same job, or None."""
        ...


@dataclass(frozen=True)
class Problem:
    """One unlearning job. `build` returns a freshly initialised network of the same spec, from the
    generator it is given. `network` is not modified: methods work on a copy.

    `calibration` is the half of the holdout that methods may see; the audit half never gets here.
    """

    network: nn.Module
    build: Callable[[torch.Generator], nn.Module]
    tasks: tuple[TaskSpec, ...]
    train: Data
    calibration: Data
    forget: ForgetSet
    recipe: Recipe


@dataclass(frozen=True)
class Residual:
    """How far one request's task ended from its goal. `metric` is the task kind's own measure."""

    reference: str
    task: str
    instances: int
    goal: float
    reached: float
    within: bool


@dataclass(frozen=True)
class Outcome:
    """What a method hands back. passes: forward-backward passes in instances, probes included.
    forward_passes: forward-only ones. visits: passes over forget instances per forget instance."""

    network: nn.Module
    guarantee: Guarantee
    steps: int
    visits: float
    passes: int
    forward_passes: int
    residuals: tuple[Residual, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


class Method(Protocol):
    """One way to unlearn. Registered by name in `worker.engine.methods.METHODS`."""

    @property
    def name(self) -> str: ...

    @property
    def guarantee(self) -> Guarantee: ...

    def __call__(
        self,
        problem: Problem,
        budget: Budget,
        *,
        seed: int,
        device: torch.device,
        monitor: Monitor,
    ) -> Outcome: ...


class Silent:
    """A `Monitor` that watches nothing: for library use, tests and benchmarks."""

    def progress(self, done: int, total: int, note: str) -> None:
        return None

    def save(self, snapshot: Mapping[str, Any]) -> None:
        return None

    def resume(self) -> Mapping[str, Any] | None:
        return None


def _mask(instances: int, tasks: int, requests: Sequence[ForgetRequest]) -> Tensor:
    mask = torch.zeros(instances, tasks, dtype=torch.bool)
    for request in requests:
        for task in request.tasks:
            mask[request.rows, task] = True
    return mask
