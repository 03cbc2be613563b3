"""What the service has registered, in the engine's words: tasks, data, networks."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from sqlalchemy import select
from sqlalchemy.orm import Session
from torch import nn

from app.core.storage import Damaged, NotStored
from models import Artifact, Dataset, ModelTask, ModelVersion, RegisteredModel, Tenant
from worker.engine.checkpoint import CheckpointLayout, read_checkpoint
from worker.engine.contract import Data, Recipe, Refused, TaskSpec
from worker.engine.data import open_data
from worker.engine.networks import build_network
from worker.equipment import Equipment
from worker.pipeline.fetch import fetch
from worker.pipeline.seeds import seed_of
from worker.pipeline.verification import has_fingerprint


class Checks(Protocol):
    """`check` is called between two pieces of work, and may raise to end it."""

    def check(self) -> None: ...


class Reader(Protocol):
    """Who reads: a run of a job, or a look at a version. `folder` is its own, for copies."""

    @property
    def equipment(self) -> Equipment: ...

    @property
    def monitor(self) -> Checks: ...

    @property
    def folder(self) -> Path: ...


@dataclass(frozen=True)
class StoredCheckpoint:
    version_id: uuid.UUID
    path: str
    sha256: bytes


@dataclass(frozen=True)
class Registered:
    """Plain values of a registered model and its data set, read in one transaction."""

    model_id: uuid.UUID
    dataset_id: uuid.UUID
    network: dict[str, Any]
    tasks: tuple[TaskSpec, ...]
    recipe: Recipe
    policy: dict[str, Any]
    roots: list[str]
    format: str
    url: str
    holdout_url: str | None
    fingerprint: str | None
    holdout_fingerprint: str | None

    def build(self, generator: torch.Generator) -> nn.Module:
        return build_network(self.network, self.tasks, generator)


def read_registered(session: Session, model_id: uuid.UUID) -> Registered:
    model = session.get_one(RegisteredModel, model_id)
    dataset = session.get_one(Dataset, model.dataset_id)
    tasks = session.scalars(
        select(ModelTask).where(ModelTask.registered_model_id == model_id).order_by(ModelTask.position)
    )
    return Registered(
        model_id=model_id,
        dataset_id=dataset.id,
        network=model.network,
        tasks=tuple(TaskSpec(task.name, task.kind, task.outputs) for task in tasks),
        recipe=Recipe(**model.recipe),
        policy=model.policy,
        roots=list(session.get_one(Tenant, model.tenant_id).allowed_roots),
        format=dataset.format,
        url=dataset.url,
        holdout_url=dataset.holdout_url,
        fingerprint=dataset.fingerprint,
        holdout_fingerprint=dataset.holdout_fingerprint,
    )


def read_stored_checkpoint(session: Session, version_id: uuid.UUID) -> StoredCheckpoint:
    version = session.get_one(ModelVersion, version_id)
    artifact = session.get_one(Artifact, version.artifact_id)
    if artifact.sha256 is None:
        raise Refused("checkpoint_vanished", "The base version's checkpoint is not stored.")
    return StoredCheckpoint(version_id, artifact.path, artifact.sha256)


def open_training_data(reader: Reader, registered: Registered) -> Data:
    """Raises `Refused`: data_vanished, data_changed, and what the format refuses."""
    return _open(reader, registered, registered.url, registered.fingerprint, "training data")


def open_holdout(reader: Reader, registered: Registered) -> Data:
    """Raises `Refused`: holdout_missing, data_vanished, data_changed, and what the format refuses."""
    if registered.holdout_url is None:
        raise Refused(
            "holdout_missing",
            "The data set has no holdout: without data that the network never saw nothing can be measured. "
            "Register the data with a holdout_url.",
        )
    return _open(reader, registered, registered.holdout_url, registered.holdout_fingerprint, "holdout")


def load_network(
    reader: Reader, registered: Registered, stored: StoredCheckpoint
) -> tuple[nn.Module, CheckpointLayout]:
    """The registered network with a stored version's values.

    Raises `Refused`: checkpoint_vanished, checkpoint_damaged, and what the engine refuses.
    """
    path = reader.folder / f"{stored.version_id}.safetensors"
    try:
        written = reader.equipment.storage.copy_to(stored.path, path, reader.monitor.check)
    except NotStored as error:
        raise Refused("checkpoint_vanished", "The checkpoint's bytes are gone from the storage.") from error
    except Damaged as error:
        raise Refused(
            "checkpoint_damaged", "The checkpoint's bytes are not those that were stored."
        ) from error
    if written.sha256 != stored.sha256:
        raise Refused("checkpoint_damaged", "The checkpoint's bytes no longer have the digest they had.")
    return read_network(registered, path)


def read_network(registered: Registered, path: Path) -> tuple[nn.Module, CheckpointLayout]:
    """Raises `Refused`: what the engine refuses of a specification or a checkpoint."""
    generator = torch.Generator().manual_seed(seed_of("initialisation", registered.model_id))
    network = registered.build(generator)
    return network, read_checkpoint(path, network)


def _open(reader: Reader, registered: Registered, url: str, fingerprint: str | None, what: str) -> Data:
    cache = Path(reader.equipment.settings.cache_folder)
    path = fetch(url, registered.roots, cache, check=reader.monitor.check)
    if not has_fingerprint(registered.format, path, fingerprint, cache):
        raise Refused(
            "data_changed",
            f"The {what} is not what was registered: its contents have changed. Put it back as it was, "
            "or register the new data as a data set of its own.",
        )
    reader.monitor.check()
    return open_data(registered.format, path, registered.tasks)
