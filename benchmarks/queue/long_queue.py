"""What a hundred thousand queued requests do to claiming, listing and posting; and the queries' plans."""

import json
import time
import uuid
from collections.abc import Callable
from statistics import median
from urllib.request import Request, urlopen

from sqlalchemy import text

from app.core.settings import Settings
from app.deletion_requests import repository as requests
from app.jobs import repository as jobs
from app.relay.dispatch import _FORGOTTEN as FORGOTTEN
from benchmarks.http.stage import Stage
from benchmarks.queue.backlog import make_models, queue_jobs
from worker.equipment import equip, put_away
from worker.jobs.claim import _MOST_URGENT, claim_next

JOBS = 2000
REQUESTS_EACH = 50
TIMES = 15
CALLS = {
    "GET /v1/deletion-requests": "/v1/deletion-requests?limit=20",
    "GET /v1/deletion-requests, queued": "/v1/deletion-requests?limit=20&status=queued",
    "GET /v1/deletion-requests, failed (none is)": "/v1/deletion-requests?limit=20&status=failed",
    "GET /v1/deletion-requests, of a reference that none has": "/v1/deletion-requests?limit=20&reference=x",
    "GET /v1/deletion-requests, of one model, failed (none is)": (
        "/v1/deletion-requests?limit=20&model=reader&status=failed"
    ),
    "GET /v1/jobs": "/v1/jobs?limit=20",
    "GET /v1/jobs, failed (none is)": "/v1/jobs?limit=20&status=failed",
    "GET /metrics": "/metrics",
}


def measure(stage: Stage, settings: Settings) -> dict:
    """Milliseconds (median) with a handful of requests, and with a hundred thousand."""
    make_models(stage, JOBS)
    stage.world.run(
        "UPDATE registered_models SET name = 'few-' || id WHERE name LIKE 'model-%' AND id NOT IN"
        " (SELECT id FROM registered_models WHERE name LIKE 'model-%' ORDER BY id LIMIT :some)",
        some=2 * TIMES,
    )
    queue_jobs(stage, 1, REQUESTS_EACH)
    few = _row(stage, settings)
    _empty(stage)
    stage.world.run("UPDATE registered_models SET name = 'model-' || id WHERE name LIKE 'few-%'")
    queue_jobs(stage, 1, REQUESTS_EACH)
    requests = stage.world.run("SELECT count(*) FROM deletion_requests WHERE status = 'queued'")
    many = _row(stage, settings)
    return {"requests": requests, "few": few, "many": many, "plans": _plans(stage)}


def _row(stage: Stage, settings: Settings) -> dict:
    with stage.world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    found = {name: _median(lambda path=path: _ask(stage, path)) for name, path in CALLS.items()}
    body = json.dumps({"model": "reader", "instances": ["scan-1"], "tasks": ["digit"]}).encode()
    found["POST /v1/deletion-requests"] = _median(lambda: _ask(stage, "/v1/deletion-requests", body))
    worker = equip(settings, "benchmark")
    claims: Callable[[], object] = lambda: claim_next(worker.sessions, settings, "benchmark")  # noqa: E731
    found[f"claiming a job of {REQUESTS_EACH} requests"] = _median(claims)
    put_away(worker)
    return found


def _median(do: Callable[[], object]) -> float:
    do()
    taken = []
    for _ in range(TIMES):
        started = time.perf_counter()
        do()
        taken.append((time.perf_counter() - started) * 1000)
    return round(median(taken), 2)


def _ask(stage: Stage, path: str, body: bytes | None = None) -> None:
    headers = {"Authorization": f"Bearer {stage.key}", "Content-Type": "application/json"}
    with urlopen(Request(f"http://127.0.0.1:{stage.api.port}{path}", body, headers)) as answer:
        answer.read()


def _empty(stage: Stage) -> None:
    for table in ("deletion_requests", "jobs"):
        stage.world.run(f"ALTER TABLE {table} DISABLE TRIGGER enforce_transition")
        finish = "status = 'cancelled'" + (
            ", accepts_requests = false, lease_expires_at = NULL" if table == "jobs" else ""
        )
        stage.world.run(f"UPDATE {table} SET {finish} WHERE status IS NOT NULL")
        stage.world.run(f"ALTER TABLE {table} ENABLE TRIGGER enforce_transition")


def _plans(stage: Stage) -> dict[str, str]:
    """Each as the role that asks it, behind row-level security."""
    tenant = str(stage.world.run("SELECT id FROM tenants"))
    plans = {
        "claim": ("lethe_worker", _MOST_URGENT + " SKIP LOCKED", {"urgent": 7}),
        "wake again": ("lethe_relay", str(FORGOTTEN), {"patience": 30.0, "batch": 100}),
    }
    for status in ("queued", "failed"):
        for what, page_query in (("requests", requests.page_query), ("jobs", jobs.page_query)):
            query, bound = page_query(uuid.UUID(tenant), status=status, limit=21)
            plans[f"list {what}, {status}"] = ("lethe_app", query, bound)
    found = {}
    for name, (role, query, bound) in plans.items():
        with stage.world.engine.connect() as connection:
            connection.execute(text(f"SET LOCAL ROLE {role}"))
            connection.execute(text("SELECT set_config('lethe.tenant', :tenant, true)"), {"tenant": tenant})
            lines = connection.execute(text(f"EXPLAIN (ANALYZE, COSTS OFF) {query}"), bound).scalars().all()
            connection.rollback()
        found[name] = "\n".join(lines)
    return found
