"""Data sets over HTTP."""

from fastapi import APIRouter, Response

from app.auth.caller import ModelsRead, ModelsWrite
from app.core.openapi import errors
from app.core.parameters import After, Limit
from app.core.session import Session
from app.core.wire import Page
from app.datasets import repository, service
from app.datasets.schemas import DatasetView, NewDataset

router = APIRouter(prefix="/v1/datasets", tags=["Datasets"])


@router.post(
    "",
    status_code=202,
    responses=errors(400, 409, 413, 422) | {200: {"model": DatasetView, "description": "Registered before"}},
)
async def register_dataset(
    caller: ModelsWrite, session: Session, sent: NewDataset, response: Response
) -> DatasetView:
    """Register training data by URL. A job validates it; poll the data set until it is ready or rejected."""
    caller.require_all_models()
    dataset, queued = await service.register(session, caller, sent)
    response.headers["Location"] = f"/v1/datasets/{dataset.name}"
    response.status_code = 202 if queued else 200
    return dataset


@router.get("", responses=errors(422))
async def list_datasets(
    caller: ModelsRead, session: Session, after: After = None, limit: Limit = 20
) -> Page[DatasetView]:
    """The tenant's data sets, newest first."""
    rows = await repository.page(session, caller.tenant_id, after, limit + 1)
    return Page(data=[DatasetView(**row._mapping) for row in rows[:limit]], has_more=len(rows) > limit)


@router.get("/{dataset}", responses=errors(404))
async def get_dataset(caller: ModelsRead, session: Session, dataset: str) -> DatasetView:
    """One data set, by name or id."""
    return await service.one(session, caller, dataset)
