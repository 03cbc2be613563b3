"""A problem: a data set, a network that learned it by heart, and a seed. Prepared once, cached on disk."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.unlearning.cached_networks import CPU, locked, trained_network
from benchmarks.unlearning.costs import Cost
from benchmarks.unlearning.digests import digest_of
from benchmarks.unlearning.held_in_memory import hold
from benchmarks.unlearning.source_code import code_digest
from benchmarks.unlearning.sources import Source, known_sources
from worker.engine.contract import Data, ForgetSet, Monitor, Recipe, Silent, TaskSpec
from worker.engine.data import Subset, describe, open_data, split_holdout
from worker.engine.networks import build_network
from worker.engine.supervision import Task, bind_tasks

REFERENCES = 2


@dataclass(frozen=True)
class ProblemKey:
    """Names a problem. instances: the first ones only. tasks: the first ones only. width: of the network.
    epochs: instead of the recipe's. folder: of a real data set."""

    source: str
    seed: int
    instances: int | None = None
    tasks: int | None = None
    width: float = 1.0
    epochs: int | None = None
    folder: str | None = None


@dataclass(frozen=True)
class Prepared:
    """Everything that runs on this problem share. `network` is trained on all of `train`."""

    key: ProblemKey
    source: Source
    specs: tuple[TaskSpec, ...]
    recipe: Recipe
    train: Data
    calibration: Data
    audit: Data
    clusters: Tensor | None
    network: nn.Module
    cost: Cost
    tasks: tuple[Task, ...]
    identity: Mapping[str, Any]
    cache: Path = field(repr=False)

    def build(self, generator: torch.Generator) -> nn.Module:
        return build_network(self.source.network(self.key.width), self.specs, generator)


def prepare(key: ProblemKey, cache: Path, monitor: Monitor | None = None) -> Prepared:
    """Write the data and train the network, unless the cache has them."""
    folders = {key.source: key.folder} if key.folder else {}
    source = known_sources(folders)[key.source]
    specs = source.tasks[: key.tasks]
    recipe = source.recipe
    if key.epochs is not None:
        recipe = Recipe(**{**vars(recipe), "epochs": key.epochs})
    folder, data_identity = _data_folder(source, key.seed, cache)
    train: Data = hold(open_data(source.format, folder / source.train, specs))
    clusters = source.read_clusters(folder)
    if key.instances is not None:
        train = Subset(train, torch.arange(key.instances))
        clusters = None if clusters is None else clusters[: key.instances]
    holdout = hold(open_data(source.format, folder / source.holdout, specs))
    calibration, audit = split_holdout(holdout, specs, key.seed)
    identity = {
        "data": data_identity,
        "instances": key.instances,
        "tasks": [[spec.name, spec.kind, spec.outputs] for spec in specs],
        "network": dict(source.network(key.width)),
    }
    build = partial(build_network, source.network(key.width), specs)
    network, cost = trained_network(
        cache, identity, build, specs, train, train.present, recipe,
        seed=key.seed, monitor=monitor or Silent(),
    )  # fmt: skip
    return Prepared(
        key=key, source=source, specs=specs, recipe=recipe, train=train, calibration=calibration,
        audit=audit, clusters=clusters, network=network, cost=cost,
        tasks=bind_tasks(specs, train, recipe.loss_weights, CPU), identity=identity, cache=cache,
    )  # fmt: skip


def retrained(
    problem: Prepared, forget: ForgetSet, number: int, monitor: Monitor | None = None
) -> tuple[nn.Module, Cost]:
    """Reference `number` of `REFERENCES`: trained from another start without what is, or was, forgotten."""
    return trained_network(
        problem.cache, problem.identity, problem.build, problem.specs, problem.train,
        forget.retained(problem.train.present), problem.recipe,
        seed=1_000_000 + 1000 * problem.key.seed + number, monitor=monitor or Silent(),
    )  # fmt: skip


def _data_folder(source: Source, seed: int, cache: Path) -> tuple[Path, dict[str, Any]]:
    if source.write is None:
        assert source.folder is not None
        fingerprint = describe(source.format, source.folder / source.train).fingerprint
        return source.folder, {"source": source.name, "fingerprint": fingerprint}
    identity = {"source": source.name, "seed": seed, "code": code_digest(*source.code)}
    folder = cache / "data" / f"{source.name}-{seed}-{digest_of(identity)}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if not folder.exists():
            partial_folder = folder.with_name(folder.name + ".partial")
            shutil.rmtree(partial_folder, ignore_errors=True)
            source.write(partial_folder, seed)
            partial_folder.rename(folder)
    return folder, identity
