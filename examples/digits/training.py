"""What the client of this journey does on its own machine: train a network, and, to compare, retrain it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from examples.digits.data import NETWORK, RECIPE, TASKS, write_digits
from worker.engine.checkpoint import new_layout, read_checkpoint, write_checkpoint
from worker.engine.contract import Data, ForgetSet, Monitor, Recipe, Silent, TaskSpec
from worker.engine.data import open_data
from worker.engine.evaluation import memorisation
from worker.engine.networks import build_network
from worker.engine.training import train

CPU = torch.device("cpu")
SPECS = tuple(TaskSpec(**task) for task in TASKS)


@dataclass(frozen=True)
class Workshop:
    """The client's own copies of the data."""

    train: Data
    holdout: Data
    train_folder: Path
    holdout_folder: Path
    seed: int


def open_workshop(folder: Path, seed: int) -> Workshop:
    """Write the data below `folder` and open them."""
    written = write_digits(folder, seed)
    return Workshop(
        open_data("arrays", written.train, SPECS),
        open_data("arrays", written.holdout, SPECS),
        written.train,
        written.holdout,
        seed,
    )


def train_network(
    workshop: Workshop, forget: ForgetSet | None = None, *, seed: int, monitor: Monitor | None = None
) -> nn.Module:
    """Train from scratch by the recipe; with `forget`, on all supervision but that."""
    network = new_network(seed)
    present = workshop.train.present
    train(
        network,
        SPECS,
        workshop.train,
        present if forget is None else forget.retained(present),
        Recipe(**RECIPE),
        seed=seed,
        device=CPU,
        monitor=monitor or Silent(),
    )
    return network


def new_network(seed: int = 0) -> nn.Module:
    return build_network(NETWORK, SPECS, torch.Generator().manual_seed(seed))


def save_network(network: nn.Module, file: Path) -> None:
    write_checkpoint(file, network, new_layout(network, {"trained_by": "examples.digits"}))


def load_network(file: Path) -> nn.Module:
    """A network with the weights of a downloaded checkpoint, ready to predict."""
    network = new_network()
    read_checkpoint(file, network)
    return network.eval()


def memorised(network: nn.Module, workshop: Workshop) -> dict[str, Any]:
    """Per task: the metric on training and held-out data, their gap, and the membership AUC."""
    return memorisation(
        network,
        tasks=SPECS,
        train=workshop.train,
        holdout=workshop.holdout,
        seed=workshop.seed,
        device=CPU,
        monitor=Silent(),
    )
