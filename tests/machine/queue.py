"""The queue as its machine drives it: the API's own statements, the worker's and the relay's own functions,
on one real database. Nothing here decides anything."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import sessionmaker

from app.auth.caller import Caller
from app.core import settling
from app.core.database import async_engine, sync_engine
from app.core.errors import Conflict
from app.core.settings import Settings
from app.core.storage import Written
from app.deletion_requests import cancellation
from app.jobs import service as jobs
from app.jobs.opening import join_or_open
from app.relay.adoption import adopt_requests
from app.relay.leases import reclaim_expired
from app.relay.unanswered import cancel_unheard, expire_reviews
from models import Artifact, DeletionRequest, Job, RegisteredModel, time_ordered_id
from models.states import TERMINAL
from tests.database import Database
from tests.worker.world import World
from worker.equipment import Equipment, equip, put_away
from worker.jobs.artifacts import mark_stored
from worker.jobs.claim import claim_next
from worker.jobs.heartbeat import Heartbeat, Order
from worker.jobs.lease import Claim, held_job
from worker.jobs.monitor import Stopped
from worker.jobs.watchdog import Watchdog
from worker.pipeline.publish import publish_candidate
from worker.run import stop_as_ordered

BYTES = Written(b"\0" * 32, 1)


class Queue:
    """Two workers, and two models of one tenant."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.settings = settings
        self.world = World(database, settings)
        self._runner = asyncio.Runner()
        self._api = async_engine(settings)
        self._relay = sync_engine(settings, settings.database_url.get_secret_value(), "lethe-relay")
        self._relay_sessions = sessionmaker(self._relay)
        self.workers: list[Equipment] = [equip(settings, f"worker-{number}") for number in (1, 2)]

    def close(self) -> None:
        for worker in self.workers:
            put_away(worker)
        self._runner.run(self._api.dispose())
        self._runner.close()
        self._relay.dispose()
        self.world.engine.dispose()

    def begin(self) -> list[RegisteredModel]:
        """A tenant of this example's own; what earlier examples left is out of the way."""
        self.world.execute(
            "UPDATE jobs SET not_before = 'infinity', accepts_requests = false WHERE status = 'queued'"
        )
        self.world.execute(
            "UPDATE jobs SET lease_expires_at = 'infinity', cancel_requested_at = NULL"
            " WHERE status IN ('running', 'cancelling')"
        )
        tenant = self.world.tenant(f"tenant-{uuid.uuid4().hex}")
        models = [self.world.ready_model(tenant) for _ in range(2)]
        key = time_ordered_id()
        self.world.execute(
            "INSERT INTO api_keys (id, tenant_id, public_id, secret_sha256, name, scopes)"
            " VALUES (:id, :tenant, :public, sha256('x'), 'machine', '{admin}')",
            id=key,
            tenant=tenant.id,
            public=key.hex[-12:],
        )
        self.caller = Caller(tenant.id, key, key.hex[-12:], frozenset({"admin"}), "machine")
        return models

    # What clients do.

    def post(self, model: RegisteredModel) -> uuid.UUID:
        request = self.world.deletion(model, None)

        async def join(session: AsyncSession) -> None:
            await join_or_open(
                session,
                tenant_id=model.tenant_id,
                model_id=model.id,
                method="retrain",
                due_at=None,
                request_ids=[request.id],
                http_request_id="machine",
            )

        self._call(join)
        return request.id

    def cancel_request(self, request_id: uuid.UUID) -> None:
        self._call(lambda session: cancellation.cancel(session, self.caller, request_id))

    def cancel_job(self, job_id: uuid.UUID) -> None:
        self._call(lambda session: jobs.cancel(session, self.caller, job_id))

    def approve(self, job_id: uuid.UUID) -> None:
        self._call(lambda session: jobs.approve(session, self.caller, job_id, "so"))

    def reject(self, job_id: uuid.UUID) -> None:
        self._call(lambda session: jobs.reject(session, self.caller, job_id, "so"))

    # What workers do.

    def claim(self, worker: int) -> Claim | None:
        equipment = self.workers[worker]
        return claim_next(equipment.sessions, self.settings, equipment.name)

    def beat(self, worker: int, claim: Claim) -> Order | None:
        watchdog = Watchdog(3600.0, lambda: None)
        engine = self.workers[worker].heartbeats
        heartbeat = Heartbeat(engine, claim, self.settings.lease_seconds, lambda: None, watchdog)
        heartbeat.expect(len(self._wanted(claim)))
        heartbeat.beat()
        return heartbeat.order

    def publish(self, worker: int, claim: Claim, requests: list[uuid.UUID]) -> Order | None:
        """None: published. Raises `LeaseLost`."""
        report = {"run": {"requests": [str(request) for request in requests], "guarantee": "exact"}}
        artifact_id = self._pending_artifact(claim)
        try:
            with self.workers[worker].sessions.begin() as session:
                job = held_job(session, claim)
                if claim.approved:
                    assert job.candidate_artifact_id is not None
                    artifact_id = job.candidate_artifact_id
                    report = dict(job.report or {})
                else:
                    mark_stored(session, artifact_id, BYTES)
                    session.flush()
                publish_candidate(session, job, claim.actor, report, artifact_id)
        except Stopped as stopped:
            self.stop(worker, claim, stopped.order)
            return stopped.order
        return None

    def hold(self, worker: int, claim: Claim, requests: list[uuid.UUID]) -> None:
        """The candidate missed a gate. Raises `LeaseLost`."""
        report = {"run": {"requests": [str(request) for request in requests], "guarantee": "exact"}}
        artifact_id = self._pending_artifact(claim)
        with self.workers[worker].sessions.begin() as session:
            job = held_job(session, claim)
            mark_stored(session, artifact_id, BYTES)
            session.flush()
            settling.hold_for_review(session, job, claim.actor, artifact_id, "It missed a gate.", report)

    def stop(self, worker: int, claim: Claim, order: Order) -> None:
        """Raises `LeaseLost`."""
        with self.workers[worker].sessions.begin() as session:
            stop_as_ordered(session, held_job(session, claim), claim, order)

    def break_down(self, worker: int, claim: Claim) -> None:
        """An attempt that fails and is tried again. Raises `LeaseLost`."""
        with self.workers[worker].sessions.begin() as session:
            job = held_job(session, claim)
            settling.requeue(
                session, job, claim.actor, outcome="failed", reason="worker_error", code="worker_error"
            )

    # What time and the relay do.

    def let_leases_run_out(self) -> None:
        """Of this example's jobs."""
        self.world.execute(
            "UPDATE jobs SET lease_expires_at = now() - interval '1 second'"
            " WHERE tenant_id = :tenant AND status IN ('running', 'cancelling')",
            tenant=self.caller.tenant_id,
        )

    def let_time_pass(self) -> None:
        """Long enough for orders to be overdue, and back-offs to be over."""
        for table in ("jobs", "deletion_requests"):
            self.world.execute(
                f"UPDATE {table} SET cancel_requested_at = cancel_requested_at - interval '1 minute'"
                " WHERE tenant_id = :tenant AND status = 'cancelling'",
                tenant=self.caller.tenant_id,
            )
        self.world.execute(
            "UPDATE jobs SET not_before = now() WHERE tenant_id = :tenant AND status = 'queued'",
            tenant=self.caller.tenant_id,
        )

    def let_reviews_run_out(self) -> None:
        self.world.execute(
            "UPDATE attempts SET finished_at = now() - interval '31 days'"
            " WHERE tenant_id = :tenant AND outcome = 'needs_review'",
            tenant=self.caller.tenant_id,
        )

    def sweep(self) -> None:
        reclaim_expired(self._relay_sessions, self.settings.max_attempts)
        cancel_unheard(self._relay_sessions)
        expire_reviews(self._relay_sessions, self.settings.review_days)
        adopt_requests(self._relay_sessions)

    # What can be seen.

    def jobs(self) -> list[Job]:
        with self.world.change() as session:
            return list(session.query(Job).filter(Job.tenant_id == self.caller.tenant_id))

    def lines(self) -> list[Any]:
        """Per model: its versions' numbers, the head's number, and how many jobs hold the line up."""
        return self.world.rows(
            "SELECT array_agg(v.number ORDER BY v.number) AS numbers,"
            " max(v.number) FILTER (WHERE v.id = m.head_version_id) AS head,"
            " (SELECT count(*) FROM jobs j WHERE j.registered_model_id = m.id"
            "  AND j.status IN ('running', 'cancelling', 'needs_review')) AS active"
            " FROM registered_models m JOIN model_versions v ON v.registered_model_id = m.id"
            " WHERE m.tenant_id = :tenant GROUP BY m.id",
            tenant=self.caller.tenant_id,
        )

    def claims_on_record(self) -> list[Any]:
        return self.world.rows(
            "SELECT j.id, j.fence, j.attempt, count(a.id) AS attempts FROM jobs j"
            " LEFT JOIN attempts a ON a.job_id = j.id WHERE j.tenant_id = :tenant GROUP BY j.id",
            tenant=self.caller.tenant_id,
        )

    def requests(self) -> list[DeletionRequest]:
        with self.world.change() as session:
            return list(
                session.query(DeletionRequest).filter(DeletionRequest.tenant_id == self.caller.tenant_id)
            )

    def holds(self, claim: Claim) -> bool:
        """Whether the claim is still good, by the database alone."""
        return bool(
            self.world.value(
                "SELECT fence = :fence AND status IN ('running', 'cancelling')"
                " AND lease_expires_at > now() FROM jobs WHERE id = :id",
                id=claim.job_id,
                fence=claim.fence,
            )
        )

    def wanted(self, claim: Claim) -> list[uuid.UUID]:
        """As a run reads them when it loads."""
        return self._wanted(claim)

    def unsettled(self) -> list[str]:
        return [
            f"{request.id} is {request.status}"
            for request in self.requests()
            if request.status not in (*TERMINAL, "needs_review")
        ]

    def _wanted(self, claim: Claim) -> list[uuid.UUID]:
        rows = self.world.rows(
            "SELECT id FROM deletion_requests WHERE job_id = :job AND status = 'running'"
            " AND cancel_requested_at IS NULL ORDER BY id",
            job=claim.job_id,
        )
        return [row.id for row in rows]

    def _pending_artifact(self, claim: Claim) -> uuid.UUID:
        artifact_id = time_ordered_id()
        path = f"{claim.tenant_id}/checkpoint/{artifact_id}"
        with self.world.change() as session:
            session.add(
                Artifact(
                    id=artifact_id,
                    tenant_id=claim.tenant_id,
                    kind="checkpoint",
                    path=path,
                    job_id=claim.job_id,
                )
            )
        return artifact_id

    def _call(self, work: Callable[[AsyncSession], Awaitable[Any]]) -> None:
        """As one HTTP request: one transaction; a refusal changes nothing."""

        async def in_transaction() -> None:
            async with async_sessionmaker(self._api).begin() as session:
                await work(session)

        try:
            self._runner.run(in_transaction())
        except Conflict:
            return
