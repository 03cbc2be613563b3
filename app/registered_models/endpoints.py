"""Registered models, their versions and aliases over HTTP."""

from typing import Any

from fastapi import APIRouter, Request, Response

from app.auth.caller import ModelsRead, ModelsWrite
from app.core.openapi import errors
from app.core.parameters import After, Limit
from app.core.session import Session
from app.core.wire import Page
from app.registered_models import aliases, refreshing, repository, service
from app.registered_models.schemas import (
    AliasList,
    AliasName,
    AliasView,
    ModelView,
    NewAlias,
    NewModel,
    NewSnapshot,
    VersionView,
)

router = APIRouter(prefix="/v1/models", tags=["Models"])


@router.post("", status_code=201, responses=errors(400, 409, 413, 422))
async def register_model(
    request: Request, caller: ModelsWrite, session: Session, sent: NewModel, response: Response
) -> ModelView:
    """Register a model: what it is, what it learned from, how it was trained, how it may be unlearned. Only
    an administrator may let more go without an approval than the service's settings do.

    Then send its weights with PUT …/versions/1/checkpoint, unless `checkpoint_url` says where they lie.
    """
    caller.require_all_models()
    model = await service.register(session, caller, request.app.state.settings, sent)
    response.headers["Location"] = f"/v1/models/{model.name}"
    return model


@router.get("", responses=errors(422))
async def list_models(
    caller: ModelsRead, session: Session, after: After = None, limit: Limit = 20
) -> Page[ModelView]:
    """The tenant's models, newest first."""
    rows = await repository.page(session, caller.tenant_id, after, limit + 1)
    return Page(data=[service.model_view(row) for row in rows[:limit]], has_more=len(rows) > limit)


@router.get("/{model}", responses=errors(404))
async def get_model(caller: ModelsRead, session: Session, model: str) -> ModelView:
    """One model, by name or id."""
    return await service.one(session, caller, model)


@router.put("/{model}/dataset", responses=errors(400, 404, 409, 413, 422))
async def refresh_data(caller: ModelsWrite, session: Session, model: str, sent: NewSnapshot) -> ModelView:
    """Move a model to a newer snapshot of its data, registered with `refreshes`. Requests that wait and name
    instances which are gone from it are retrained, whatever method they had."""
    return await refreshing.move(session, caller, model, sent.dataset)


@router.get("/{model}/versions", responses=errors(404, 422))
async def list_versions(
    caller: ModelsRead, session: Session, model: str, after: After = None, limit: Limit = 20
) -> Page[VersionView]:
    """The line of a model's versions, newest first."""
    model_id = await service.find_id(session, caller, model)
    rows = await repository.versions(session, caller.tenant_id, model_id, after, limit + 1)
    return Page(data=[service.version_view(row) for row in rows[:limit]], has_more=len(rows) > limit)


@router.get("/{model}/versions/{version}", responses=errors(404))
async def get_version(caller: ModelsRead, session: Session, model: str, version: str) -> VersionView:
    """One version, by number or alias: lineage, digest, guarantee, report."""
    return service.version_view(await service.version(session, caller, model, version))


@router.get("/{model}/versions/{version}/signature", responses=errors(404))
async def get_signature(
    caller: ModelsRead, session: Session, model: str, version: str, response: Response
) -> dict[str, Any]:
    """The signature of a version's checkpoint: a Sigstore bundle, for `model_signing verify key`. The public
    key is in /.well-known/lethe-signing-keys.json, as ecdsa-p256."""
    response.headers["Content-Disposition"] = 'attachment; filename="model.sig"'
    return service.signature(await service.version(session, caller, model, version))


@router.get("/{model}/aliases", responses=errors(404))
async def list_aliases(caller: ModelsRead, session: Session, model: str) -> AliasList:
    """The names that point at versions of a model."""
    model_id = await service.find_id(session, caller, model)
    rows = await repository.aliases(session, caller.tenant_id, model_id)
    return AliasList(data=[AliasView(**row._mapping) for row in rows])


@router.put("/{model}/aliases/{alias}", responses=errors(400, 404, 409, 410, 413, 422))
async def move_alias(
    caller: ModelsWrite, session: Session, model: str, alias: AliasName, sent: NewAlias
) -> AliasView:
    """Point an alias at a version.

    A version that still remembers what was deleted since answers 409 `version_remembers`. An administrator
    who gives a reason takes the model back to it: it becomes the head, and those requests are open again.
    """
    return await aliases.move(session, caller, model, alias, sent)
