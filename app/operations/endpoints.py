"""For operators and their machines: liveness, readiness, metrics."""

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.security import HTTPAuthorizationCredentials
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import RedirectResponse, Response

from app.core.errors import Unavailable
from app.core.metrics import OF_TENANTS
from app.core.openapi import problems
from app.operations.metrics_token import bearer, may_read_of_tenants
from app.operations.storage_probe import StorageState

# How long a prober or a scraper is kept waiting for the database; theirs lose patience after ten seconds.
SECONDS = 5.0

router = APIRouter(tags=["Operations"])
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


class Health(BaseModel):
    status: str


class Readiness(Health):
    storage: StorageState = Field(description="Calls that move checkpoints need it; no other call does")


@router.get("/", include_in_schema=False)
async def to_the_documentation() -> RedirectResponse:
    return RedirectResponse("/docs")


@router.get("/healthz", responses=problems(422))
async def healthz() -> Health:
    """The process answers. Nothing else is looked at."""
    return Health(status="ok")


@router.get("/readyz", responses=problems(422, 503))
async def readyz(request: Request) -> Readiness:
    """The database answers and has the schema that this version needs: requests can be taken in. The storage
    is told of and does not decide: were it away, no request should be refused because of it."""
    state = request.app.state
    try:
        await state.schema_check.wait(SECONDS)
    except (SQLAlchemyError, TimeoutError) as error:
        raise Unavailable("The database does not answer.", code="database_unavailable") from error
    return Readiness(status="ready", storage=await state.storage_probe.look())


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text"}, **problems(401, 422)},
    openapi_extra={"security": [{}]},  # no token is needed where the operator has set none
)
async def metrics(request: Request, credentials: _Credentials) -> Response:
    """This process's counters, and the queue as the database tells it. What names tenants and models is told
    only where the operator has set a token, and only to those who send it."""
    state = request.app.state
    of_tenants = may_read_of_tenants(state.settings, credentials)
    # The counters are worth having most of all when the database is away.
    with suppress(SQLAlchemyError, TimeoutError):
        await state.queue_gauges.wait(SECONDS)
    told = generate_latest() + (generate_latest(OF_TENANTS) if of_tenants else b"")
    return Response(told, media_type=CONTENT_TYPE_LATEST)
