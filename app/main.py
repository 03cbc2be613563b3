"""The application: routes, lifespan, error handler. `uvicorn --factory app.main:create_app`."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache, partial
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.ext.asyncio import async_sessionmaker
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.audit.endpoints import router as audit
from app.auth.endpoints import router as api_keys
from app.certificates.endpoints import router as certificates
from app.core.body_limit import BodyLimit
from app.core.database import async_engine
from app.core.errors import LetheError
from app.core.logging import configure_logging
from app.core.openapi import describe, operation_id
from app.core.parameters import refuse_unknown_parameters
from app.core.problems import handle_error
from app.core.request_context import RequestContext
from app.core.settings import Settings, get_settings
from app.core.storage import open_storage
from app.datasets.endpoints import router as datasets
from app.deletion_requests.endpoints import router as deletion_requests
from app.instance_lists.endpoints import router as instance_lists
from app.jobs.endpoints import router as jobs
from app.lookups.endpoints import router as lookups
from app.opendsr.endpoints import router as opendsr
from app.opendsr.resolving import Resolver
from app.opendsr.signing import configured_signer
from app.opendsr.tables import router as identity_tables
from app.operations.asking_once import AskedOnce
from app.operations.checks import schema_is_current
from app.operations.documentation import serve_documentation
from app.operations.endpoints import router as operations
from app.operations.queue_metrics import QueueGauges
from app.operations.storage_probe import StorageProbe
from app.rate_limits.counting import Calls
from app.rate_limits.limiter import RateLimits
from app.registered_models.audit_endpoints import router as version_audits
from app.registered_models.checkpoint_endpoints import router as checkpoints
from app.registered_models.endpoints import router as registered_models
from app.registered_models.life_endpoints import router as life_of_models
from app.signing_keys.endpoints import router as signing_keys
from app.webhooks.endpoints import router as webhooks
from models.states import IllegalTransition

# Tried in this order: the calls that come most often first.
ROUTERS = (
    deletion_requests,
    certificates,
    jobs,
    datasets,
    registered_models,
    checkpoints,
    life_of_models,
    version_audits,
    instance_lists,
    lookups,
    audit,
    api_keys,
    signing_keys,
    webhooks,
    opendsr,
    identity_tables,
    operations,
)
# With what holds for all of them. Made here, so that FastAPI reads the signatures once, however many
# applications a process has.
ROUTES = APIRouter(
    dependencies=[Depends(refuse_unknown_parameters)], generate_unique_id_function=operation_id
)
for router in ROUTERS:
    ROUTES.include_router(router)
# Threads that wait for the storage for one chunk. An upload keeps its thread until it ends, so uploads
# have their own: a slow client must not hold up downloads.
STORAGE_THREADS = 16
UPLOADS_AT_ONCE = 32

TITLE, VERSION = "Lethe", version("lethe-service")
DESCRIPTION = """Unlearning as a service. Register a model and the data it learned from, post deletion
requests that name instances and tasks, and get a new version that behaves as if that supervision had never
been there, with the evidence.

Errors are problem details (RFC 9457) with a stable `code`. Times are RFC 3339, UTC. Lists are newest first;
to go on, send `after` = the id of the last item."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application. Without `settings` it reads them from the environment and sends logs to stderr."""
    if settings is None:
        settings = get_settings()
        configure_logging(settings, "api")
    calls = Calls(settings)
    app = FastAPI(
        title=TITLE,
        version=VERSION,
        description=DESCRIPTION,
        lifespan=partial(_lifespan, settings, calls),
        routes=[*ROUTES.routes],
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    serve_documentation(app)
    for error in (LetheError, RequestValidationError, HTTPException, IllegalTransition, ClientDisconnect):
        app.add_exception_handler(error, handle_error)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(RateLimits, settings=settings, calls=calls)
    app.add_middleware(RequestContext)  # the outermost
    app.openapi = document  # type: ignore[method-assign]
    return app


@cache
def document() -> dict[str, Any]:
    """What all applications of this process answer at /openapi.json: to be read only."""
    return describe(ROUTES.routes, title=TITLE, version=VERSION, description=DESCRIPTION)


@asynccontextmanager
async def _lifespan(settings: Settings, calls: Calls, app: FastAPI) -> AsyncIterator[None]:
    engine = async_engine(settings)
    threads = ThreadPoolExecutor(STORAGE_THREADS, thread_name_prefix="storage")
    upload_threads = ThreadPoolExecutor(UPLOADS_AT_ONCE, thread_name_prefix="upload")
    background: set[asyncio.Task[None]] = set()
    app.state.settings = settings
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    app.state.schema_check = AskedOnce(partial(schema_is_current, app.state.sessions), background)
    app.state.queue_gauges = AskedOnce(QueueGauges(app.state.sessions).refresh, background)
    app.state.storage = open_storage(settings)
    app.state.storage_probe = StorageProbe(app.state.storage)
    app.state.opendsr_signer = configured_signer(settings)
    app.state.opendsr_resolver = Resolver()
    app.state.threads = threads
    app.state.upload_threads = upload_threads
    app.state.background = background
    app.state.keys_being_marked = set()
    try:
        yield
    finally:
        if background:
            _, late = await asyncio.wait(background, timeout=5)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        threads.shutdown(wait=False)
        upload_threads.shutdown(wait=False)
        app.state.storage_probe.close()
        await calls.close()
        await engine.dispose()
