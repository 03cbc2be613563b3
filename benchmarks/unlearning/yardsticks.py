"""What a run is measured with: the original and the retrained networks, looked at once per request."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean

from benchmarks.unlearning.costs import Cost
from benchmarks.unlearning.looks import Look, Parts, look_at, parts_of
from benchmarks.unlearning.problems import REFERENCES, Prepared, ProblemKey, prepare, retrained
from benchmarks.unlearning.requests import RequestPlan, forget_sets
from benchmarks.unlearning.scores import score


@dataclass(frozen=True)
class Yardstick:
    """parts: of one job's request. references: of networks retrained without it (and, in a sequence, without
    all other requests up to some step), with what retraining had cost."""

    parts: Parts
    original: Look
    references: tuple[Look, ...]
    costs: tuple[Cost, ...]


@lru_cache(maxsize=3)
def prepared(key: ProblemKey, cache: Path) -> Prepared:
    """`prepare`, remembered by this process."""
    return prepare(key, cache)


@lru_cache(maxsize=64)
def yardstick(key: ProblemKey, plan: RequestPlan, measured: int, step: int, cache: Path) -> Yardstick:
    """The request of job `measured`, against networks retrained without those of jobs 0..step."""
    problem = prepared(key, cache)
    sets = forget_sets(plan, problem)
    parts = parts_of(problem, sets[measured])
    networks = [retrained(problem, sets[step], number) for number in range(REFERENCES)]
    return Yardstick(
        parts,
        look_at(problem, problem.network, parts),
        tuple(look_at(problem, network, parts) for network, _ in networks),
        tuple(cost for _, cost in networks),
    )


def floor(problem: Prepared, measure: Yardstick) -> dict[str, float]:
    """Retraining's own figures: each reference against the mean of the others, averaged."""
    looks = measure.references
    found = [
        score(problem.specs, measure.parts, measure.original, look, looks[:number] + looks[number + 1 :])
        for number, look in enumerate(looks)
    ]
    names = [name for name, value in found[0].items() if isinstance(value, float)]
    return {name: fmean(one[name] for one in found) for name in names}
