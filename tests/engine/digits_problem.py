"""A small problem for the engine's own tests: the demonstration's digits, fewer, with a short recipe."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from examples.digits.data import NETWORK, TASKS, write_digits
from worker.engine.calibration import CalibrationSettings
from worker.engine.contract import Batch, Data, ForgetRequest, ForgetSet, Problem, Recipe, Silent, TaskSpec
from worker.engine.data import Subset, open_data, split_holdout
from worker.engine.interference_aware import InterferenceAware
from worker.engine.networks import build_network
from worker.engine.randomness import derived_generator
from worker.engine.training import train

CPU = torch.device("cpu")
SPECS = tuple(TaskSpec(**task) for task in TASKS)
RECIPE = Recipe(learning_rate=4e-3, epochs=15, batch_size=32, schedule="linear")
INSTANCES = 200
QUICK = InterferenceAware(calibration=CalibrationSettings(reference_samples=80, probe_samples=160))


@cache
def digits() -> tuple[Data, Data, Data]:
    """(train, calibration, audit); everything is in memory once it was read."""
    with TemporaryDirectory() as folder:
        written = write_digits(Path(folder), seed=7)
        train_data = Held.of(Subset(open_data("arrays", written.train, SPECS), torch.arange(INSTANCES)))
        holdout = open_data("arrays", written.holdout, SPECS)
        calibration, audit = split_holdout(holdout, SPECS, seed=7)
        return train_data, Held.of(calibration), Held.of(audit)


class Held:
    """`Data` in memory."""

    def __init__(self, ids: list[str], batch: Batch) -> None:
        self._ids = ids
        self._batch = batch

    @staticmethod
    def of(data: Data) -> "Held":
        return Held(list(data.ids), data.fetch(torch.arange(len(data))))

    @property
    def ids(self) -> list[str]:
        return self._ids

    @property
    def present(self) -> Tensor:
        return self._batch.present

    def __len__(self) -> int:
        return len(self._ids)

    def fetch(self, rows: Tensor) -> Batch:
        targets = {name: values[rows] for name, values in self._batch.targets.items()}
        return Batch(self._batch.inputs[rows], targets, self._batch.present[rows])

    def reordered(self, columns: list[int]) -> "Held":
        """The same data with its tasks in another order."""
        present = self._batch.present[:, columns]
        return Held(self._ids, Batch(self._batch.inputs, self._batch.targets, present))

    def without(self, rows: Tensor, column: int) -> "Held":
        """The same data with some supervision missing."""
        present = self._batch.present.clone()
        present[rows, column] = False
        return Held(self._ids, Batch(self._batch.inputs, self._batch.targets, present))


def build(generator: torch.Generator) -> nn.Module:
    return build_network(NETWORK, SPECS, generator)


def build_cnn(generator: torch.Generator) -> nn.Module:
    """With batch normalisation."""
    shape = {"kind": "cnn", "input": [1, 8, 8], "channels": [8, 8], "hidden": 32}
    network = build_network(shape, SPECS, generator)
    network.shared.insert(0, nn.Unflatten(1, (1, 8)))  # type: ignore[operator, union-attr]
    return network


@cache
def trained() -> Mapping[str, Tensor]:
    data, _, _ = digits()
    network = build(derived_generator(7, "network"))
    train(network, SPECS, data, data.present, RECIPE, seed=7, device=CPU, monitor=Silent())
    return network.state_dict()


def original() -> nn.Module:
    network = build(derived_generator(7, "network"))
    network.load_state_dict(trained())
    return network.eval()


def request(rows: range | list[int], tasks: tuple[int, ...], reference: str = "first") -> ForgetRequest:
    return ForgetRequest(reference, torch.tensor(list(rows), dtype=torch.int64), tasks)


def problem(*requests: ForgetRequest, **changes: Any) -> Problem:
    """Of the requests, on the trained network; `changes` replace fields."""
    data, calibration, _ = digits()
    excluded = changes.pop("excluded", ())
    given: dict[str, Any] = {
        "network": original(),
        "build": build,
        "tasks": SPECS,
        "train": data,
        "calibration": calibration,
        "forget": ForgetSet(INSTANCES, len(SPECS), requests, excluded),
        "recipe": RECIPE,
    }
    return Problem(**{**given, **changes})


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
