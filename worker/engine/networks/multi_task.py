"""A shared backbone with one linear head per task."""

from collections.abc import Sequence

from torch import Tensor, nn

from worker.engine.contract import Refused, TaskSpec


class MultiTaskNetwork(nn.Module):
    """`shared`: inputs (B, ...) → features (B, width). `heads`: per task, features → (B, outputs)."""

    def __init__(self, shared: nn.Module, width: int, tasks: Sequence[TaskSpec]) -> None:
        super().__init__()
        self.shared = shared
        self.heads = nn.ModuleDict()
        for task in tasks:
            try:
                self.heads[task.name] = nn.Linear(width, task.outputs)
            except KeyError as error:
                raise Refused(
                    "network_spec_invalid",
                    f"A task cannot be named {task.name!r}: torch keeps that name for itself. Rename it.",
                ) from error

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        features = self.shared(inputs)
        return {name: head(features) for name, head in self.heads.items()}
