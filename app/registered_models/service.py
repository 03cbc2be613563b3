"""Registering models, and finding them and their versions."""

import asyncio
import uuid
from typing import Any

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.audit import audit_entry, event
from app.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from app.core.roots import allowed_url
from app.core.rows import AnyRow
from app.core.settings import Settings
from app.datasets import repository as datasets
from app.deletion_requests.allowance import loosens
from app.jobs.opening import queue_validation
from app.registered_models import repository
from app.registered_models.schemas import ModelView, NewModel, Origin, VersionView
from models import Artifact, ModelVersion, time_ordered_id
from models.states import DatasetStatus, ModelStatus, VersionState

_HOLD_SOURCE = text("SELECT id FROM registered_models WHERE id = :id FOR SHARE")


async def register(session: AsyncSession, caller: Caller, settings: Settings, sent: NewModel) -> ModelView:
    """Raises `InvalidInput` (dataset_unknown, holdout_missing, unknown_target, loss_weights_unknown,
    gates_unknown_task, url_not_allowed, origin_unknown), `Forbidden` (approval_loosened) and `Conflict`
    (dataset_not_ready, model_exists, model_destroyed)."""
    looser = loosens(sent.policy.model_dump(), settings)
    if looser and not caller.is_admin:
        raise Forbidden(
            "policy.approval would let more be forgotten without a person's word than the service's settings "
            "do. Ask for less, or have a key of the scope admin register the model.",
            code="approval_loosened",
        )
    dataset = await _usable_dataset(session, caller, sent.dataset)
    _check_tasks(sent, dataset)
    checkpoint_url = None
    if sent.checkpoint_url is not None:
        roots = await datasets.allowed_roots(session, caller.tenant_id)
        checkpoint_url = await asyncio.to_thread(allowed_url, sent.checkpoint_url, roots)
    names = [task.name for task in sent.tasks]
    model_id = await repository.insert_new(
        session,
        caller.tenant_id,
        [task.model_dump() for task in sent.tasks],
        name=sent.name,
        dataset_id=dataset.id,
        network=sent.network.model_dump(),
        recipe=sent.recipe.model_dump(),
        policy=sent.policy.model_dump() | {"gates": sent.policy.gates.for_tasks(names)},
        checkpoint_url=checkpoint_url,
        derived_from_version_id=await _origin(session, caller, sent.derived_from),
        status=ModelStatus.VALIDATING if checkpoint_url else ModelStatus.AWAITING_CHECKPOINT,
    )
    if model_id is None:
        raise Conflict(f"There is a model named {sent.name} already.", code="model_exists")
    told = {"approval_loosened": sent.policy.approval.model_dump(exclude_none=True)} if looser else {}
    await session.execute(
        audit_entry(caller.tenant_id, caller.actor, "model.create", model_id, caller.request_id, **told)
    )
    if checkpoint_url:
        await _expect_from_url(session, caller, model_id)
    return await one(session, caller, str(model_id))


async def one(session: AsyncSession, caller: Caller, name_or_id: str) -> ModelView:
    """Raises `NotFound`."""
    model_id = await find_id(session, caller, name_or_id)
    return model_view(await repository.model(session, caller.tenant_id, model_id))


async def find_id(session: AsyncSession, caller: Caller, name_or_id: str) -> uuid.UUID:
    """Raises `NotFound`."""
    model_id = await repository.find_id(session, caller.tenant_id, name_or_id)
    if model_id is None:
        raise model_not_found()
    return model_id


async def version(session: AsyncSession, caller: Caller, model: str, number_or_alias: str) -> AnyRow:
    """Raises `NotFound`."""
    model_id = await find_id(session, caller, model)
    row = await repository.version(session, caller.tenant_id, model_id, number_or_alias)
    if row is None:
        raise NotFound("The model has no such version or alias.", code="version_not_found")
    return row


def model_view(row: AnyRow) -> ModelView:
    return ModelView(**row._mapping)


def version_view(row: AnyRow) -> VersionView:
    return VersionView(**row._mapping)


def signature(version: AnyRow) -> dict[str, Any]:
    """Raises `NotFound`."""
    signed = (version.report or {}).get("signature")
    if signed is None:
        raise NotFound(
            f"Version {version.number} is not signed: only what this service made itself is, and only where "
            "the operator has set LETHE_MODEL_SIGNING_KEY.",
            code="signature_not_found",
        )
    bundle: dict[str, Any] = signed["bundle"]
    return bundle


def model_not_found() -> NotFound:
    return NotFound("There is no such model.", code="model_not_found")


async def _usable_dataset(session: AsyncSession, caller: Caller, name: str) -> AnyRow:
    dataset = await datasets.find(session, caller.tenant_id, name)
    if dataset is None:
        raise InvalidInput(
            "There is no such data set; register the data first with POST /v1/datasets.",
            code="dataset_unknown",
        )
    if dataset.status != DatasetStatus.READY:
        raise Conflict(
            f"The data set is {dataset.status}; a model can be registered once it is ready.",
            code="dataset_not_ready",
            headers={"Retry-After": "5"} if dataset.status == DatasetStatus.VALIDATING else {},
        )
    if dataset.holdout_url is None:
        raise InvalidInput(
            "The data set has no holdout, and without data that the model never saw nothing can be measured. "
            "Register the data again under another name with a holdout_url.",
            code="holdout_missing",
        )
    return dataset


async def _origin(session: AsyncSession, caller: Caller, sent: Origin | None) -> uuid.UUID | None:
    """Whatever has become of the version since: what it remembered is in what was made from it. The source's
    row is held: whoever destroys it destroys this model with it, or was there first."""
    if sent is None:
        return None
    model_id = await repository.find_id(session, caller.tenant_id, sent.model)
    held = await session.execute(_HOLD_SOURCE, {"id": model_id}) if model_id else None
    version = (
        await repository.version(session, caller.tenant_id, model_id, str(sent.version)) if model_id else None
    )
    if held is None or version is None or version.state in (VersionState.PENDING, VersionState.REJECTED):
        raise InvalidInput(
            "derived_from names no version that was ever published; register the model without it, or "
            "after it.",
            code="origin_unknown",
        )
    if version.model_status == ModelStatus.DESTROYED:
        raise Conflict(
            "The model that this one was fine-tuned from was destroyed, with all that descends from it.",
            code="model_destroyed",
        )
    version_id: uuid.UUID = version.id
    return version_id


def _check_tasks(sent: NewModel, dataset: AnyRow) -> None:
    targets = [target["name"] for target in dataset.targets]
    unknown = [task.name for task in sent.tasks if task.name not in targets]
    if unknown:
        raise InvalidInput(
            f"The data set has no target {unknown[0]!r}; its targets are {', '.join(targets)}.",
            code="unknown_target",
            known_targets=targets,
        )
    strange = sorted(set(sent.recipe.loss_weights) - {task.name for task in sent.tasks})
    if strange:
        raise InvalidInput(
            f"recipe.loss_weights names {strange[0]!r}, which is none of the model's tasks.",
            code="loss_weights_unknown",
        )
    strange = sorted(sent.policy.gates.tasks_named() - {task.name for task in sent.tasks})
    if strange:
        raise InvalidInput(
            f"policy.gates has a bound for {strange[0]!r}, which is none of the model's tasks.",
            code="gates_unknown_task",
        )


async def _expect_from_url(session: AsyncSession, caller: Caller, model_id: uuid.UUID) -> None:
    """Version 1 and the place for its bytes, which the validating job copies there."""
    artifact_id = time_ordered_id()
    await session.execute(
        insert(Artifact).values(
            id=artifact_id,
            tenant_id=caller.tenant_id,
            kind="checkpoint",
            path=f"{caller.tenant_id}/checkpoint/{artifact_id}",
        )
    )
    version_id = time_ordered_id()
    await session.execute(
        insert(ModelVersion).values(
            id=version_id,
            tenant_id=caller.tenant_id,
            registered_model_id=model_id,
            number=1,
            artifact_id=artifact_id,
        )
    )
    await session.execute(event(caller.tenant_id, version_id, "version.pending", version=1))
    await session.execute(event(caller.tenant_id, model_id, "model.validating"))
    await queue_validation(
        session, tenant_id=caller.tenant_id, http_request_id=caller.request_id, model_id=model_id
    )
