"""Validate a data set: read it, refuse it with a reason, or describe it and index its instances."""

from pathlib import Path
from typing import Any

import torch
from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from app.core import settling
from app.core.audit import event
from app.core.database import transaction
from app.core.hashing import hash_instances
from models import Dataset, DatasetInstance, Phase, Tenant
from models.states import DatasetStatus
from worker.engine.contract import Refused
from worker.engine.data import Description, TargetDescription
from worker.jobs.lease import LeaseLost, held_job
from worker.jobs.monitor import stop_if_cancelled
from worker.jobs.running import Running
from worker.pipeline.fetch import fetch
from worker.pipeline.verification import describe_and_remember

BATCH = 50_000
MAX_TARGETS = 63  # bits of dataset_instances.supervised that stay clear of the sign
# Not COPY, which tables with row-level security do not take.
_ADD = text(
    "INSERT INTO dataset_instances (dataset_id, instance_hash, tenant_id, position, supervised)"
    " SELECT :dataset_id, row.hash, :tenant_id, row.position, row.supervised"
    " FROM unnest(CAST(:hashes AS bytea[]), CAST(:positions AS int8[]), CAST(:supervised AS int8[]))"
    " AS row(hash, position, supervised)"
)


def validate_dataset(running: Running) -> None:
    """Raises `Refused`: the data set is then rejected."""
    with transaction(running.equipment.sessions) as session:
        dataset = session.get_one(Dataset, running.claim.dataset_id)
        roots = list(session.get_one(Tenant, dataset.tenant_id).allowed_roots)
        format, url, holdout_url = dataset.format, dataset.url, dataset.holdout_url
    train = _describe(running, format, url, roots)
    holdout = _describe(running, format, holdout_url, roots) if holdout_url else None
    _check(train, holdout)
    running.enter(Phase.PUBLISHING)
    with transaction(running.equipment.sessions, "validation") as session:
        _accept(session, running, train, holdout)


def _describe(running: Running, format: str, url: str, roots: list[str]) -> Description:
    cache = Path(running.equipment.settings.cache_folder)
    path = fetch(url, roots, cache, check=running.monitor.check)
    described = describe_and_remember(format, path, cache)
    running.monitor.check()
    return described


def _check(train: Description, holdout: Description | None) -> None:
    if not train.targets:
        raise Refused("data_targets_missing", "The data has ids and inputs, but no target to learn.")
    if len(train.targets) > MAX_TARGETS:
        raise Refused(
            "data_targets_too_many",
            f"The data has {len(train.targets)} targets; at most {MAX_TARGETS} are supported.",
        )
    if holdout is None:
        return
    if holdout.input_shape != train.input_shape:
        raise Refused(
            "holdout_shape_differs",
            f"One input of the holdout has shape {holdout.input_shape}, and of the training data "
            f"{train.input_shape}.",
        )
    shared = len(set(train.ids) & set(holdout.ids))
    if shared:
        raise Refused(
            "holdout_overlaps",
            f"{shared} ids of the holdout are training data too; a holdout must be data that no network "
            "was trained on.",
        )


def _accept(session: Session, running: Running, train: Description, holdout: Description | None) -> None:
    """Index and description appear together. The job's row is locked last and for a moment only: its
    lease has to be renewed while the index is written."""
    key_id = _hash_key_of_refreshed(session, running) or running.equipment.settings.hash_key_id
    hashes = hash_instances(train.ids, running.claim.tenant_id, running.equipment.settings, key_id)
    dataset = session.scalar(
        select(Dataset)
        .where(Dataset.id == running.claim.dataset_id, Dataset.status == DatasetStatus.VALIDATING)
        .with_for_update(key_share=True)
    )
    if dataset is None:
        raise LeaseLost("another attempt has settled the data set")
    _check_refreshed(session, dataset, train)
    _write_index(session, running, dataset, hashes, _supervised(train))
    job = held_job(session, running.claim)
    stop_if_cancelled(job)
    dataset.status = DatasetStatus.READY
    dataset.error_code = dataset.error_detail = None
    dataset.fingerprint = train.fingerprint
    dataset.instance_count = train.instances
    dataset.holdout_fingerprint = holdout.fingerprint if holdout else None
    dataset.holdout_count = holdout.instances if holdout else None
    dataset.targets = _targets(train)
    dataset.hash_key_id = key_id
    session.flush()
    session.execute(event(job.tenant_id, dataset.id, "dataset.ready", instances=train.instances))
    settling.succeed(session, job, running.claim.actor, version_id=None)


def _hash_key_of_refreshed(session: Session, running: Running) -> str | None:
    """All snapshots of the same data are under one key. Whoever rotates keys waits from here to the commit;
    the older row is locked first, as they do."""
    refreshed = select(Dataset.refreshes_id).where(Dataset.id == running.claim.dataset_id).scalar_subquery()
    return session.scalar(
        select(Dataset.hash_key_id)
        .where(Dataset.tenant_id == running.claim.tenant_id, Dataset.id == refreshed)
        .with_for_update(read=True, key_share=True)
    )


def _check_refreshed(session: Session, dataset: Dataset, train: Description) -> None:
    """A snapshot has the targets of what it refreshes, in their order: models are moved to it."""
    if dataset.refreshes_id is None:
        return
    older = [target["name"] for target in session.get_one(Dataset, dataset.refreshes_id).targets or []]
    if older != list(train.targets):
        raise Refused(
            "data_targets_differ",
            f"The data has the targets {', '.join(train.targets)}; what it refreshes has {', '.join(older)}. "
            "Register it as a data set of its own.",
        )


def _write_index(
    session: Session, running: Running, dataset: Dataset, hashes: list[bytes], supervised: list[int]
) -> None:
    """In the order of the hashes, which spares the index most of its page splits; 1,000,000 instances take
    some twenty seconds."""
    session.execute(delete(DatasetInstance).where(DatasetInstance.dataset_id == dataset.id))
    same = {"dataset_id": dataset.id, "tenant_id": dataset.tenant_id}
    order = sorted(range(len(hashes)), key=hashes.__getitem__)
    for start in range(0, len(order), BATCH):
        running.heartbeat.tell(start, len(order), "indexing instances")
        running.monitor.check()
        rows = order[start : start + BATCH]
        listed = {"hashes": [hashes[row] for row in rows], "supervised": [supervised[row] for row in rows]}
        session.execute(_ADD, same | listed | {"positions": rows})


def _supervised(train: Description) -> list[int]:
    """(N,) with bit k set where target k is present."""
    bits = torch.zeros(train.instances, dtype=torch.int64)
    for number, target in enumerate(train.targets.values()):
        bits |= target.present.to(torch.int64) << number
    return bits.tolist()


def _targets(train: Description) -> list[dict[str, Any]]:
    """What the data itself says of its targets. Extremes of real values stay out: they are somebody's."""
    described = []
    for name, target in train.targets.items():
        entry: dict[str, Any] = {
            "name": name,
            "values": target.values,
            "shape": list(target.shape),
            "supervised": int(target.present.sum()),
        }
        kind, outputs = _likely_task(target)
        entry |= {"kind": kind, "outputs": outputs}
        described.append(entry)
    return described


def _likely_task(target: TargetDescription) -> tuple[str, int]:
    """Kind and width of the task that such a target is usually for; the model's registration decides."""
    classes = int(target.highest or 0) + 1
    match target.values, target.shape:
        case "integers", () if target.highest is not None:
            return "classification", classes
        case "integers", (_, _) if target.highest is not None:
            return "segmentation", classes
        case "reals", (1, _, _):
            return "depth", 1
        case "reals", (3, _, _):
            return "normals", 3
        case _, ():
            return "regression", 1
        case _, (width, *_):
            return "regression", width
    raise AssertionError(target.shape)
