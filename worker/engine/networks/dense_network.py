"""A shared backbone with heads that answer per pixel, beside heads that answer per image."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional

from worker.engine.contract import Refused, TaskSpec
from worker.engine.tasks import is_dense

Maps = Tensor | Sequence[Tensor]


class DenseNetwork(nn.Module):
    """`shared`: inputs (B, channels, H, W) → feature maps, or several, from fine to coarse.
    `heads`: per task, feature maps → (B, outputs, h, w), brought to H x W here, or (B, outputs).

    Batch normalisation works with a batch of a single image as long as its coarsest map has more than one
    pixel; `smallest` (H, W at least) sees to that.
    """

    def __init__(self, shared: nn.Module, heads: nn.ModuleDict, *, channels: int, smallest: int) -> None:
        super().__init__()
        self.shared = shared
        self.heads = heads
        self._channels = channels
        self._smallest = smallest

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Raises `Refused("network_input_mismatch")`."""
        if inputs.ndim != 4 or inputs.shape[1] != self._channels or min(inputs.shape[2:]) < self._smallest:
            raise Refused(
                "network_input_mismatch",
                f"The network takes inputs of shape (B, {self._channels}, H, W) with H and W at least "
                f"{self._smallest}, not {tuple(inputs.shape)}.",
            )
        features = self.shared(inputs)
        return {name: at_size(head(features), inputs) for name, head in self.heads.items()}


class ImageHead(nn.Module):
    """One answer per image: the mean over positions of the (coarsest) map, then a linear layer."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, outputs)

    def forward(self, features: Maps) -> Tensor:
        coarsest = features if isinstance(features, Tensor) else features[-1]
        answers: Tensor = self.linear(coarsest.mean(dim=(2, 3)))
        return answers


def heads_per_task(
    tasks: Sequence[TaskSpec], per_pixel: Callable[[int], nn.Module], per_image: Callable[[int], nn.Module]
) -> nn.ModuleDict:
    """Heads by task name; both makers are given the number of outputs.

    Raises `Refused("network_spec_invalid")` for a name that torch keeps for itself.
    """
    heads = nn.ModuleDict()
    for task in tasks:
        try:
            heads[task.name] = (per_pixel if is_dense(task) else per_image)(task.outputs)
        except KeyError as error:
            raise Refused(
                "network_spec_invalid",
                f"A task cannot be named {task.name!r}: torch keeps that name for itself. Rename it.",
            ) from error
    return heads


def at_size(answers: Tensor, inputs: Tensor) -> Tensor:
    """(B, outputs, h, w) → (B, outputs, H, W), bilinear; answers per image stay as they are."""
    if answers.ndim != 4 or answers.shape[2:] == inputs.shape[2:]:
        return answers
    return functional.interpolate(answers, inputs.shape[2:], mode="bilinear", align_corners=False)
