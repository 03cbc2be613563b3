"""A FastAPI application with nothing around its SQL: the statements of the API's own two calls, with the
parameters computed beforehand, and a route that does nothing at all."""

import base64
import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from app.auth.caller import _FIND
from app.core.database import async_engine
from app.core.settings import get_settings
from app.deletion_requests.recording import _WITH_ITEMS
from app.deletion_requests.repository import _ONE
from app.deletion_requests.supervision import _count
from app.deletion_requests.targets import _BY_MODEL_NAME
from app.jobs.opening import _JOIN_OR_OPEN
from models import time_ordered_id

GIVEN = json.loads(os.environ.get("BENCHMARK_GIVEN", "{}"))
COUNTED = {
    "tasks": ["digit", "parity"], "bits": [1, 2], "mask": 3, "bit0": 1, "bit1": 2, "standing": True,
}  # fmt: skip
IDS = ("tenant_id", "dataset_id", "model_id", "api_key_id")


def create_app() -> FastAPI:
    app = FastAPI(lifespan=_lifespan)
    same = {name: uuid.UUID(GIVEN[name]) for name in IDS}
    packed = base64.b64decode(GIVEN["packed"])
    key = {"public_id": GIVEN["public_id"], "sent": bytes.fromhex(GIVEN["secret_sha256"])}
    named = {"packed": packed, "instance_count": len(packed) // 32}
    counted = same | named | COUNTED

    @app.post("/same-sql", status_code=202)
    async def write(request: Request) -> dict[str, str]:
        await request.json()
        engine: AsyncEngine = request.app.state.engine
        request_id = time_ordered_id()
        row = same | named | _row(request_id)
        async with engine.begin() as connection:
            (await connection.execute(_FIND, key)).one()
            bound = {"tenant_id": same["tenant_id"], "name": "reader"}
            (await connection.execute(_BY_MODEL_NAME, bound)).one()
            (await connection.execute(_count(2, True, False), counted)).one()
            (await connection.execute(_WITH_ITEMS, row)).one()
            job = (await connection.execute(_JOIN_OR_OPEN, _place(same, request_id))).one()
        return {"id": str(request_id), "job": str(job.id)}

    @app.get("/same-sql/{request_id}")
    async def read(request: Request, request_id: uuid.UUID) -> dict[str, str]:
        engine: AsyncEngine = request.app.state.engine
        async with engine.begin() as connection:
            (await connection.execute(_FIND, key)).one()
            bound = {"tenant_id": same["tenant_id"], "id": request_id}
            row = (await connection.execute(_ONE, bound)).one()
        return {"id": str(row.id), "status": row.status}

    @app.get("/empty")
    async def empty() -> dict[str, str]:
        return {"status": "ok"}

    return app


def _row(request_id: uuid.UUID) -> dict[str, object]:
    return {
        "id": request_id,
        "parent_id": None,
        "tasks": ["digit", "parity"],
        "scope": "full",
        "method": "interference_aware",
        "already_forgotten": 0,
        "hash_key_id": "k1",
        "http_request_id": "benchmark",
        "reference": None,
        "regulation": None,
        "metadata": "{}",
        "due_at": None,
        "acknowledge_by": None,
        "guarantee": "empirical",
        "status": "queued",
        "approval": None,
        "result_version_id": None,
        "actor": "key:benchmark",
        "audited": "{}",
    }


def _place(same: dict[str, uuid.UUID], request_id: uuid.UUID) -> dict[str, object]:
    return {
        "job_id": time_ordered_id(),
        "tenant_id": same["tenant_id"],
        "model_id": same["model_id"],
        "method": "interference_aware",
        "due_at": None,
        "request_ids": [request_id],
        "http_request_id": "benchmark",
    }


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.engine = async_engine(get_settings())
    yield
    await app.state.engine.dispose()
