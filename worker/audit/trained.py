"""The networks that a look needs beside the version: references, and retrained ones."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from worker.audit.subject import Effort, Subject
from worker.audit.work_folder import WorkFolder
from worker.engine.baselines.retrain import Retrain
from worker.engine.contract import Budget
from worker.engine.randomness import derive_seed, derived_generator

Tell = Callable[[str, float], None]  # which network, and which share of it is done


def references(
    subject: Subject, effort: Effort, folder: WorkFolder, device: torch.device, tell: Tell
) -> Iterator[tuple[nn.Module, Tensor]]:
    """One after the other: a network trained by the recipe on half of what is retained, and which instances
    (N,) it was kept from. Two in a row have opposite halves."""
    instances = len(subject.train)
    for number in range(effort.references):
        order = torch.randperm(instances, generator=derived_generator(effort.seed, "half", number // 2))
        left_out = torch.zeros(instances, dtype=torch.bool)
        left_out[order[number % 2 :: 2]] = True
        name = f"reference-{number + 1}"
        yield _network(subject, left_out, name, effort, folder, device, tell), left_out


def retrained(
    subject: Subject, effort: Effort, folder: WorkFolder, device: torch.device, tell: Tell
) -> list[nn.Module]:
    """Networks trained by the recipe on all that is retained: the exact way to forget."""
    nothing = torch.zeros(len(subject.train), dtype=torch.bool)
    return [
        _network(subject, nothing, f"retrained-{number + 1}", effort, folder, device, tell)
        for number in range(effort.retrained)
    ]


def _network(
    subject: Subject,
    left_out: Tensor,
    name: str,
    effort: Effort,
    folder: WorkFolder,
    device: torch.device,
    tell: Tell,
) -> nn.Module:
    """Raises `Refused`: task_would_be_erased, loss_not_finite."""
    seed = derive_seed(effort.seed, name)
    tell(name, 0.0)
    kept = folder.network(name, subject.build(derived_generator(seed, "empty")))
    if kept is None:
        monitor = folder.monitor(name, lambda done, total, _: tell(name, done / total))
        problem = subject.training_problem(left_out)
        kept = Retrain()(problem, Budget(), seed=seed, device=device, monitor=monitor).network.cpu()
        folder.keep(name, kept)
    tell(name, 1.0)
    return kept.eval()
