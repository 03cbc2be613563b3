"""What the trained networks know by heart, to be printed before anything is unlearned."""

import torch

from benchmarks.unlearning.cached_networks import CPU
from benchmarks.unlearning.problems import Prepared
from worker.engine.contract import Silent
from worker.engine.evaluation import memorisation
from worker.engine.evaluation.dense_metrics import literature_figures
from worker.engine.progress import Progress


def memorised(problem: Prepared) -> list[tuple[str, ...]]:
    """Per task: data, seed, task, metric on training data and holdout, gap, membership AUC, size, time."""
    found = memorisation(
        problem.network,
        tasks=problem.specs,
        train=problem.train,
        holdout=problem.audit,
        seed=problem.key.seed,
        device=CPU,
        monitor=Silent(),
    )
    parameters = sum(parameter.numel() for parameter in problem.network.parameters())
    return [
        (
            problem.source.name,
            str(problem.key.seed),
            name,
            f"{task['train']['value']:.1f}",
            f"{task['holdout']['value']:.1f}",
            f"{task['gap']:.1f}",
            f"{task['membership']['auc']:.3f}",
            f"{parameters}",
            f"{problem.cost.processor_seconds:.1f}",
        )
        for name, task in found.items()
    ]


def dense_figures(problem: Prepared) -> list[tuple[str, ...]]:
    """Per task and figure of the literature: data, seed, task, figure, its value on the training data and on
    the audit half of the holdout. None of tasks that are not dense.
    """
    learned, unseen = (
        literature_figures(
            problem.network, problem.specs, data, torch.arange(len(data)), data.present,
            device=CPU, progress=Progress(Silent(), len(data)), note="the literature's figures",
        )
        for data in (problem.train, problem.audit)
    )  # fmt: skip
    return [
        (
            problem.source.name,
            str(problem.key.seed),
            task,
            figure,
            f"{value:.3f}",
            f"{unseen[task][figure]:.3f}",
        )
        for task, figures in learned.items()
        for figure, value in figures.items()
    ]
