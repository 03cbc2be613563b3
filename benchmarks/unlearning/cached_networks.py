"""Networks trained once and kept as safetensors under the digest of everything that determines them."""

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.unlearning.costs import Cost, timed
from benchmarks.unlearning.digests import digest_of, digest_of_mask
from benchmarks.unlearning.source_code import code_digest
from worker.engine.checkpoint import new_layout, read_checkpoint, write_checkpoint
from worker.engine.contract import Data, Monitor, Recipe, TaskSpec
from worker.engine.randomness import derived_generator
from worker.engine.training import train

TRAINING_CODE = ("worker.engine.training", "worker.engine.networks", "worker.engine.data")
CPU = torch.device("cpu")


def trained_network(
    cache: Path,
    identity: Mapping[str, Any],
    build: Callable[[torch.Generator], nn.Module],
    specs: tuple[TaskSpec, ...],
    data: Data,
    retained: Tensor,
    recipe: Recipe,
    *,
    seed: int,
    monitor: Monitor,
) -> tuple[nn.Module, Cost]:
    """Trained by the recipe on `retained` (N, T), from the cache if it was before, with what that had cost.

    identity: what determines the data and the network's specification. The start is the seed's own.
    """
    network = build(derived_generator(seed, "retrain"))
    full = {
        **identity,
        "recipe": asdict(recipe),
        "retained": digest_of_mask(retained),
        "seed": seed,
        "code": code_digest(*TRAINING_CODE),
        "torch": torch.__version__,
    }
    file = cache / "networks" / f"{digest_of(full)}.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file):
        if file.exists():
            layout = read_checkpoint(file, network)
            return network.eval(), Cost(**json.loads(layout.metadata["cost"]))
        with timed() as cost:
            cost.passes = train(
                network, specs, data, retained, recipe, seed=seed, device=CPU, monitor=monitor
            )
        metadata = {"cost": json.dumps(asdict(cost)), "identity": json.dumps(full, sort_keys=True)}
        write_checkpoint(file, network, new_layout(network, metadata))
    return network.eval(), cost


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process that holds it."""
    with path.with_name(path.name + ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
