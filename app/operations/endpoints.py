"""For operators and their machines: liveness, readiness, metrics."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import RedirectResponse, Response

from app.core.errors import Unavailable
from app.core.openapi import problems
from app.operations import checks
from app.operations.queue_metrics import refresh

router = APIRouter(tags=["Operations"])


class Health(BaseModel):
    status: str


@router.get("/", include_in_schema=False)
async def to_the_documentation() -> RedirectResponse:
    return RedirectResponse("/docs")


@router.get("/healthz", responses=problems(422))
async def healthz() -> Health:
    """The process answers. Nothing else is looked at."""
    return Health(status="ok")


@router.get("/readyz", responses=problems(422, 503))
async def readyz(request: Request) -> Health:
    """The database answers and has the schema that this version needs, and the storage can be written."""
    state = request.app.state
    threads: ThreadPoolExecutor = state.threads
    try:
        async with asyncio.timeout(5), state.sessions() as session:
            await checks.schema_is_current(session)
            await asyncio.get_running_loop().run_in_executor(
                threads, checks.storage_is_writable, state.storage
            )
    except (SQLAlchemyError, TimeoutError) as error:
        raise Unavailable("The database does not answer.", code="database_unavailable") from error
    return Health(status="ready")


@router.get(
    "/metrics",
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text"}, **problems(422)},
)
async def metrics(request: Request) -> Response:
    """This process's counters, and the queue as the database tells it."""
    try:
        async with request.app.state.sessions() as session:
            await refresh(session)
    except SQLAlchemyError:
        pass  # the counters are worth having when the database is away, most of all then
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
