"""A version as a `Subject`: its weights, its data as they were registered, and what the ledger says of it."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sqlalchemy import select, text
from sqlalchemy.orm import Session
from torch import Tensor, nn

from app.core.database import transaction
from models import Artifact, ModelVersion, RegisteredModel, Tenant
from models.states import ArtifactState, VersionState
from worker.audit.subject import Subject
from worker.engine.contract import Refused
from worker.engine.data import split_holdout
from worker.equipment import Equipment
from worker.pipeline.registered import (
    Registered,
    StoredCheckpoint,
    load_network,
    open_holdout,
    open_training_data,
    read_registered,
    read_stored_checkpoint,
)
from worker.pipeline.seeds import seed_of

_SERVED = (VersionState.PUBLISHED, VersionState.SUPERSEDED)

# What the line of versions up to this one has forgotten, and all else that is in the ledger. `gone`: how many
# of its instances the data set does not have any more.
_LEDGER = text("""
WITH RECURSIVE line AS (
  SELECT id, parent_id FROM model_versions WHERE id = :version_id
  UNION ALL
  SELECT parent.id, parent.parent_id FROM model_versions AS parent JOIN line ON parent.id = line.parent_id
)
SELECT ledger.task, coalesce(ledger.version_id IN (SELECT id FROM line), false) AS forgotten,
  array_agg(instance.position) FILTER (WHERE instance.position IS NOT NULL) AS positions,
  count(*) FILTER (WHERE instance.position IS NULL) AS gone
FROM forgotten_supervision AS ledger
LEFT JOIN dataset_instances AS instance
  ON instance.dataset_id = :dataset_id AND instance.instance_hash = ledger.instance_hash
WHERE ledger.registered_model_id = :model_id
GROUP BY 1, 2
""")

_FIRST = text("""
WITH RECURSIVE line AS (
  SELECT id, parent_id FROM model_versions WHERE id = :version_id
  UNION ALL
  SELECT parent.id, parent.parent_id FROM model_versions AS parent JOIN line ON parent.id = line.parent_id
)
SELECT id FROM line WHERE parent_id IS NULL
""")


class Patient:
    """Nobody orders a look to stop but the person who started it."""

    def check(self) -> None:
        return None


@dataclass(frozen=True)
class Looking:
    """Reads as a run of a job does (`worker.pipeline.registered.Reader`), without one."""

    equipment: Equipment
    folder: Path
    monitor: Patient


@dataclass(frozen=True)
class Found:
    """Who is looked at. `original`: the first version of its line, unless that is this one."""

    tenant_id: uuid.UUID
    model_id: uuid.UUID
    model: str
    number: int
    version: StoredCheckpoint
    guarantee: str | None
    original: StoredCheckpoint | None


@dataclass(frozen=True)
class Opened:
    """rows_gone: per task, forgotten instances that the data does not have any more, so that they cannot be
    asked about."""

    found: Found
    registered: Registered
    subject: Subject
    rows_gone: dict[str, int]


def find_version(session: Session, model: str, number: int, tenant: str | None) -> Found:
    """Raises `Refused`: model_not_found, model_ambiguous, version_not_found, version_not_served."""
    registered = _find_model(session, model, tenant)
    version = session.scalar(
        select(ModelVersion).where(
            ModelVersion.registered_model_id == registered.id, ModelVersion.number == number
        )
    )
    if version is None:
        raise Refused("version_not_found", f"Model {registered.name} has no version {number}.")
    if version.state not in _SERVED or not _is_stored(session, version):
        raise Refused(
            "version_not_served",
            f"Version {number} is {version.state}: only the weights of a published version can be attacked.",
        )
    first = session.get_one(ModelVersion, session.scalar(_FIRST, {"version_id": version.id}))
    remembers = first.id != version.id and first.state in _SERVED and _is_stored(session, first)
    return Found(
        tenant_id=registered.tenant_id,
        model_id=registered.id,
        model=registered.name,
        number=number,
        version=read_stored_checkpoint(session, version.id),
        guarantee=version.guarantee,
        original=read_stored_checkpoint(session, first.id) if remembers else None,
    )


def open_version(looking: Looking, found: Found) -> Opened:
    """Raises `Refused`: recipe_missing, rows_gone, data_vanished, data_changed, checkpoint_vanished,
    checkpoint_damaged, and what the engine refuses of data and networks."""
    with transaction(looking.equipment.sessions) as session:
        if not session.get_one(RegisteredModel, found.model_id).recipe:
            raise Refused("recipe_missing", "No recipe is registered, so no reference can be trained.")
        registered = read_registered(session, found.model_id)
        bound = {
            "version_id": found.version.version_id,
            "model_id": found.model_id,
            "dataset_id": registered.dataset_id,
        }
        ledger = session.execute(_LEDGER, bound).all()
    train = open_training_data(looking, registered)
    calibration, audit = split_holdout(
        open_holdout(looking, registered), registered.tasks, seed_of("holdout", registered.model_id)
    )
    forgotten = _mask(registered, train.present, ledger, lambda row: row.forgotten)
    gone = {row.task: int(row.gone) for row in ledger if row.forgotten and row.gone}
    if gone and not bool(forgotten.any()):
        raise Refused(
            "rows_gone",
            "None of what this version has forgotten is in the data any more: whether it is known cannot be "
            "asked. This is as it should be; look before the rows are removed at the source.",
        )
    network, _ = load_network(looking, registered, found.version)
    return Opened(
        found=found,
        registered=registered,
        subject=Subject(
            version=network.eval(),
            original=_original(looking, registered, found.original),
            build=registered.build,
            tasks=registered.tasks,
            recipe=registered.recipe,
            train=train,
            calibration=calibration,
            audit=audit,
            forgotten=forgotten,
            barred=_mask(registered, train.present, ledger, lambda _: True),
        ),
        rows_gone=gone,
    )


def _original(looking: Looking, registered: Registered, stored: StoredCheckpoint | None) -> nn.Module | None:
    return None if stored is None else load_network(looking, registered, stored)[0].eval()


def _mask(registered: Registered, present: Tensor, ledger: Any, wanted: Callable[[Any], bool]) -> Tensor:
    mask = torch.zeros_like(present)
    column = {task.name: number for number, task in enumerate(registered.tasks)}
    for row in ledger:
        if wanted(row) and row.task in column and row.positions:
            mask[torch.tensor(row.positions, dtype=torch.int64), column[row.task]] = True
    return mask & present


def _find_model(session: Session, model: str, tenant: str | None) -> RegisteredModel:
    query = select(RegisteredModel)
    try:
        query = query.where(RegisteredModel.id == uuid.UUID(model))
    except ValueError:
        query = query.where(RegisteredModel.name == model)
    if tenant is not None:
        query = query.join(Tenant, Tenant.id == RegisteredModel.tenant_id).where(Tenant.name == tenant)
    found = session.scalars(query).all()
    if not found:
        raise Refused(
            "model_not_found", f"There is no model {model!r}" + (f" of {tenant}." if tenant else ".")
        )
    if len(found) > 1:
        raise Refused(
            "model_ambiguous", f"{len(found)} tenants have a model {model!r}: name one by --tenant."
        )
    return found[0]


def _is_stored(session: Session, version: ModelVersion) -> bool:
    return session.get_one(Artifact, version.artifact_id).state == ArtifactState.STORED
