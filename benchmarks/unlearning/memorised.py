"""What the trained networks know by heart, to be printed before anything is unlearned."""

from benchmarks.unlearning.cached_networks import CPU
from benchmarks.unlearning.problems import Prepared
from worker.engine.contract import Silent
from worker.engine.evaluation import memorisation


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
