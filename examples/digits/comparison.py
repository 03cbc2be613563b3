"""What three networks know: the old version, the new one, and one retrained without what was deleted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from examples.digits.training import CPU, SPECS, Workshop
from worker.engine.contract import ForgetRequest, ForgetSet, Silent
from worker.engine.data import split_holdout
from worker.engine.evaluation import evaluate

PARTS = {
    "forget": "forgotten",
    "unnamed_same_instances": "same people, task kept",
    "retain": "retained",
    "holdout": "held out",
}


@dataclass(frozen=True)
class Row:
    """One task on one part of the data: estimates `{value, low, high, n}` in points."""

    task: str
    metric: str
    part: str
    old: Mapping[str, Any]
    new: Mapping[str, Any]
    retrained: Mapping[str, Any]


@dataclass(frozen=True)
class Attack:
    """Membership inference on one task: estimates `{auc, standard_error, members, non_members}`."""

    task: str
    old: Mapping[str, Any]
    new: Mapping[str, Any]
    retrained: Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """The rows to print, from the version's own report and from the same measurement of `retrained`."""

    rows: tuple[Row, ...]
    attacks: tuple[Attack, ...]


def forget_set(
    workshop: Workshop, instances: list[str], tasks: list[str], earlier: ForgetSet | None = None
) -> ForgetSet:
    """The (instance, task) pairs of a request, after those of `earlier`."""
    position = {instance: row for row, instance in enumerate(workshop.train.ids)}
    rows = torch.tensor(sorted(position[instance] for instance in instances))
    columns = tuple(column for column, spec in enumerate(SPECS) if spec.name in tasks)
    excluded = earlier.excluded + earlier.requests if earlier else ()
    return ForgetSet(len(workshop.train), len(SPECS), (ForgetRequest("demo", rows, columns),), excluded)


def compare(
    workshop: Workshop, report: Mapping[str, Any], old: nn.Module, retrained: nn.Module, forget: ForgetSet
) -> Comparison:
    """Join the service's report on its new version with the same measurement of a retrained network.

    The holdout is split and the retained sample drawn with the seeds that the report records, so that
    all three columns look at the same instances.
    """
    _, audit = split_holdout(workshop.holdout, SPECS, report["run"]["holdout_seed"])
    yardstick = evaluate(
        old,
        retrained,
        tasks=SPECS,
        train=workshop.train,
        audit=audit,
        forget=forget,
        seed=report["run"]["seed"],
        device=CPU,
        monitor=Silent(),
    )
    rows, attacks = [], []
    for task, beside in yardstick["tasks"].items():
        found = report["tasks"][task]
        for part, name in PARTS.items():
            if found[part] is None or (part == "unnamed_same_instances" and found["named"]):
                continue
            rows.append(
                Row(
                    task,
                    found["metric"],
                    name,
                    found[part]["before"],
                    found[part]["after"],
                    beside[part]["after"],
                )
            )
        if found["membership"] is not None:
            attacks.append(
                Attack(
                    task,
                    found["membership"]["before"],
                    found["membership"]["after"],
                    beside["membership"]["after"],
                )
            )
    return Comparison(tuple(rows), tuple(attacks))
