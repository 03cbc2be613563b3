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
from app.core.database import async_engine, relay_url, sync_engine
from app.core.errors import Conflict
from app.core.hashing import hash_instances
from app.core.settings import Settings
from app.core.sight import SeeingSessions
from app.core.storage import Written
from app.deletion_requests import approval, cancellation, retrying
from app.deletion_requests.approval import Decider
from app.jobs import service as jobs
from app.jobs.opening import join_or_open
from app.registered_models import aliases
from app.registered_models.schemas import NewAlias
from app.relay.adoption import adopt_requests
from app.relay.leases import reclaim_expired
from app.relay.unanswered import cancel_unheard, expire_reviews
from models import Artifact, DeletionRequest, RegisteredModel, time_ordered_id
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
from worker.run import stop_as_ordered, try_again

BYTES = Written(b"\0" * 32, 1)
INSTANCES = 100
TARGETS = '[{"name": "colour", "supervised": 100}, {"name": "size", "supervised": 100}]'


class Queue:
    """Two workers, and two models of one tenant."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.settings = settings
        self.world = World(database, settings)
        self._runner = asyncio.Runner()
        self._api = async_engine(settings)
        self._relay = sync_engine(settings, relay_url(settings), "lethe-relay")
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
        self._next_instance = 0
        for model in models:
            self._index(model)
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
        """For an instance that nobody named before."""
        self._next_instance += 1
        request = self.world.deletion(model, None, [f"p{self._next_instance % INSTANCES}"])

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

    def post_what_waits(self, model: RegisteredModel) -> uuid.UUID:
        """It takes more than may go without a person's word."""
        self._next_instance += 1
        named = [f"p{self._next_instance % INSTANCES}"]
        reasons: dict[str, Any] = {"reasons": [{"code": "share", "detail": "so"}]}
        return self.world.deletion(model, None, named, status="awaiting_approval", approval=reasons).id

    def approve_request(self, request_id: uuid.UUID) -> None:
        decider = Decider.calling(self.caller, self.settings)
        self._call(lambda session: session.run_sync(approval.approve, decider, request_id, "so"))

    def reject_request(self, request_id: uuid.UUID) -> None:
        decider = Decider.calling(self.caller, self.settings)
        self._call(lambda session: session.run_sync(approval.reject, decider, request_id, "so"))

    def retry_request(self, request_id: uuid.UUID) -> None:
        self._call(lambda session: retrying.retry(session, self.caller, self.settings, request_id))

    def cancel_request(self, request_id: uuid.UUID) -> None:
        self._call(lambda session: cancellation.cancel(session, self.caller, request_id))

    def cancel_job(self, job_id: uuid.UUID) -> None:
        self._call(lambda session: jobs.cancel(session, self.caller, job_id))

    def approve(self, job_id: uuid.UUID) -> None:
        self._call(lambda session: jobs.approve(session, self.caller, job_id, "so"))

    def reject(self, job_id: uuid.UUID) -> None:
        self._call(lambda session: jobs.reject(session, self.caller, job_id, "so"))

    def retry(self, job_id: uuid.UUID) -> None:
        self._call(lambda session: jobs.retry(session, self.caller, self.settings, job_id))

    def go_back(self, model: RegisteredModel) -> None:
        """To version 1, as an administrator."""
        sent = NewAlias(version=1, reason="The newer ones are worse.")
        self._call(lambda session: aliases.move(session, self.caller, str(model.id), "latest", sent))

    # What workers do.

    def claim(self, worker: int) -> Claim | None:
        equipment = self.workers[worker]
        return claim_next(equipment.sessions, self.settings, equipment.name)

    def beat(self, worker: int, claim: Claim, loaded: list[uuid.UUID]) -> Order | None:
        watchdog = Watchdog(3600.0, lambda: None)
        engine = self.workers[worker].heartbeats
        heartbeat = Heartbeat(engine, claim, self.settings.lease_seconds, lambda: None, watchdog)
        heartbeat.expect(len(loaded))
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
            try_again(session, job, claim, self.settings.max_attempts, begin_anew=False)

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

    def jobs(self) -> list[uuid.UUID]:
        rows = self.world.rows(
            "SELECT id FROM jobs WHERE tenant_id = :id ORDER BY id", id=self.caller.tenant_id
        )
        return [row.id for row in rows]

    def waited_ever(self) -> list[uuid.UUID]:
        return sorted(request.id for request in self.requests() if request.approval is not None)

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

    def ordered_to_cancel(self, claim: Claim) -> bool:
        return bool(
            self.world.value("SELECT status = 'cancelling' FROM jobs WHERE id = :id", id=claim.job_id)
        )

    def unsettled(self) -> list[str]:
        """But for what waits for a person."""
        return [
            f"{request.id} is {request.status}"
            for request in self.requests()
            if request.status not in (*TERMINAL, "needs_review", "awaiting_approval")
        ]

    def wanted(self, claim: Claim) -> list[uuid.UUID]:
        """As a run reads them when it loads."""
        rows = self.world.rows(
            "SELECT id FROM deletion_requests WHERE job_id = :job AND status = 'running'"
            " AND cancel_requested_at IS NULL ORDER BY id",
            job=claim.job_id,
        )
        return [row.id for row in rows]

    def _index(self, model: RegisteredModel) -> None:
        """Of the model's data: every instance has both targets."""
        names = [f"p{number}" for number in range(INSTANCES)]
        self.world.execute(
            "WITH described AS (UPDATE datasets SET targets = CAST(:targets AS jsonb) WHERE id = :dataset)"
            " INSERT INTO dataset_instances (dataset_id, instance_hash, tenant_id, position, supervised)"
            " SELECT :dataset, named, :tenant, row, 3 FROM unnest(CAST(:hashes AS bytea[]))"
            " WITH ORDINALITY AS instance (named, row)",
            targets=TARGETS,
            dataset=model.dataset_id,
            tenant=model.tenant_id,
            hashes=hash_instances(names, model.tenant_id, self.settings),
        )

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
            async with SeeingSessions(async_sessionmaker(self._api), self.caller.sight).begin() as session:
                await work(session)

        try:
            self._runner.run(in_transaction())
        except Conflict:
            return
