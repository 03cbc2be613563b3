"""Validate a registered model: its data, its network and version 1 fit together; publish version 1."""

import time
import uuid
from pathlib import Path
from typing import Any

import torch
from sqlalchemy import select
from sqlalchemy.orm import Session
from torch import nn

from app.core import settling
from app.core.audit import event
from app.core.database import transaction
from app.core.remaining import COUNT_REMAINING
from app.core.storage import Written
from models import Artifact, Dataset, Job, ModelVersion, Phase, RegisteredModel
from models.states import ArtifactState, DatasetStatus, ModelStatus, VersionState
from worker.engine.contract import Data, Refused
from worker.engine.data import split_holdout
from worker.engine.evaluation import memorisation
from worker.jobs.artifacts import mark_stored, store_file
from worker.jobs.monitor import stop_if_cancelled
from worker.jobs.running import Running
from worker.pipeline.device import choose_device, device_name
from worker.pipeline.evaluate import finite, surroundings
from worker.pipeline.fetch import fetch
from worker.pipeline.notify import tell_of_version
from worker.pipeline.publish import move_head
from worker.pipeline.registered import (
    Registered,
    StoredCheckpoint,
    load_network,
    open_holdout,
    open_training_data,
    read_registered,
)
from worker.pipeline.seeds import seed_of


def validate_model(running: Running) -> None:
    """Raises `Refused`: model and version 1 are then rejected."""
    start = time.monotonic()
    with transaction(running.equipment.sessions) as session:
        registered = _read(session, running)
    train, holdout = open_training_data(running, registered), open_holdout(running, registered)
    _, audit = split_holdout(holdout, registered.tasks, seed_of("holdout", registered.model_id))
    network, _ = load_network(running, registered, _checkpoint(running, registered))
    _check_fit(network, train)
    device = choose_device(running.equipment.settings)
    running.enter(Phase.EVALUATING)
    seed = seed_of("run", running.claim.job_id)
    measured = memorisation(
        network,
        tasks=registered.tasks,
        train=train,
        holdout=audit,
        seed=seed,
        device=device,
        monitor=running.monitor,
    )
    report: dict[str, Any] = finite(
        {
            "schema": 1,
            "memorisation": measured,
            "run": {
                "seed": seed,
                "seconds": round(time.monotonic() - start, 3),
                **surroundings(device),
                "digests": {"data": registered.fingerprint, "holdout": registered.holdout_fingerprint},
            },
        }
    )
    running.enter(Phase.PUBLISHING)
    running.act(
        lambda session, job: _accept(session, job, running, report, device_name(device)), "validation"
    )


def _read(session: Session, running: Running) -> Registered:
    if running.claim.registered_model_id is None:
        raise LookupError("a job that validates a model has one")
    registered = read_registered(session, running.claim.registered_model_id)
    dataset = session.get_one(Dataset, registered.dataset_id)
    if dataset.status != DatasetStatus.READY:
        raise Refused("dataset_not_ready", f"The model's data set is {dataset.status}, not ready.")
    targets = {target["name"] for target in dataset.targets or []}
    unknown = [task.name for task in registered.tasks if task.name not in targets]
    if unknown:
        raise Refused(
            "data_target_missing",
            f"The data set has no target {unknown[0]!r}; it has {', '.join(sorted(targets))}.",
        )
    return registered


def _checkpoint(running: Running, registered: Registered) -> StoredCheckpoint:
    """Version 1's bytes; those that a URL was given for are copied in first, as an artifact of this attempt's
    own: one that lost its lease in the middle must not write over what a later one has published."""
    with transaction(running.equipment.sessions) as session:
        version = _first_version(session, registered)
        artifact = session.get_one(Artifact, version.artifact_id)
        url = session.get_one(RegisteredModel, registered.model_id).checkpoint_url
        stored = StoredCheckpoint(version.id, artifact.path, artifact.sha256 or b"")
        state = artifact.state
    if state == ArtifactState.STORED:
        return stored
    if url is None:
        raise Refused("checkpoint_vanished", "The checkpoint was never received; send it again.")
    cache = Path(running.equipment.settings.cache_folder)
    file = fetch(url, registered.roots, cache, check=running.monitor.check, vanished="checkpoint_vanished")
    if not file.is_file():
        raise Refused("checkpoint_not_safetensors", "The checkpoint's URL names a folder, not a file.")
    equipment = running.equipment
    artifact_id, written = store_file(
        equipment.sessions, equipment.storage, running.claim, "checkpoint", file, running.monitor.check
    )
    return running.act(lambda session, _: _refer_to(session, registered, artifact_id, written))


def _refer_to(
    session: Session, registered: Registered, artifact_id: uuid.UUID, written: Written
) -> StoredCheckpoint:
    mark_stored(session, artifact_id, written)
    session.flush()
    version = _first_version(session, registered)
    session.get_one(Artifact, version.artifact_id).state = ArtifactState.DELETED  # never had any bytes
    version.artifact_id = artifact_id
    path = session.get_one(Artifact, artifact_id).path
    return StoredCheckpoint(version.id, path, written.sha256)


def _check_fit(network: nn.Module, train: Data) -> None:
    """One instance through the network: whether it takes such inputs is known only by trying."""
    batch = train.fetch(torch.zeros(1, dtype=torch.int64))
    network.eval()
    try:
        with torch.no_grad():
            network(batch.inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise Refused(
            "network_does_not_fit_data",
            f"The network cannot take inputs of shape {tuple(batch.inputs.shape[1:])}: {reason[0][:200]}",
        ) from error


def _accept(session: Session, job: Job, running: Running, report: dict[str, Any], device: str) -> None:
    """Version 1 is published and is the model's head; the model takes deletion requests from now on.
    Raises `Stopped`."""
    stop_if_cancelled(job)
    model = session.get_one(RegisteredModel, job.registered_model_id, with_for_update=True)
    version = session.scalars(
        select(ModelVersion).where(ModelVersion.registered_model_id == model.id, ModelVersion.number == 1)
    ).one()
    artifact = session.get_one(Artifact, version.artifact_id)
    digest = f"sha256:{artifact.sha256.hex()}" if artifact.sha256 else None
    report = report | {"run": report["run"] | {"digests": report["run"]["digests"] | {"new": digest}}}
    version.state = VersionState.PUBLISHED
    version.report = report
    move_head(session, model, version.id)
    model.status = ModelStatus.READY
    model.error_code = model.error_detail = None
    job.device = device
    job.report = report
    session.flush()
    session.execute(COUNT_REMAINING, {"model_id": model.id, "dataset_id": model.dataset_id})
    session.execute(event(job.tenant_id, model.id, "model.ready"))
    tell_of_version(session, running.claim.actor, version)
    settling.succeed(session, job, running.claim.actor, version_id=None, version=1)


def _first_version(session: Session, registered: Registered) -> ModelVersion:
    version = session.scalar(
        select(ModelVersion).where(
            ModelVersion.registered_model_id == registered.model_id, ModelVersion.number == 1
        )
    )
    if version is None:
        raise Refused("checkpoint_vanished", "The checkpoint was never received; send it again.")
    return version
