"""Posts, claims, heartbeats, expiries, publications and cancellations in any order, by two workers.

After every step the promises hold; and at the end, whatever happened, the work comes to rest.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run

from app.core.settings import Settings
from app.standalone.postgres import PostgresServer
from models import RegisteredModel
from models.states import TERMINAL
from tests.database import Database, temporary_database
from tests.machine.queue import Queue
from worker.jobs.heartbeat import Order
from worker.jobs.lease import Claim, LeaseLost

WORKERS = st.sampled_from([0, 1])
MODELS = st.sampled_from([0, 1])


@pytest.fixture
def queue(postgres: PostgresServer, tmp_path: Path) -> Iterator[Queue]:
    with temporary_database(postgres.superuser_url) as url:
        database = Database(url)
        made = Queue(
            database,
            Settings(
                database_url=database.app_url,
                worker_database_url=database.worker_url,
                broker_url="redis://127.0.0.1:1/0",
                storage_url=f"file://{tmp_path}/storage",
                hash_key="00112233445566778899aabbccddeeff" * 2,
                lease_seconds=60,
                max_attempts=3,
            ),
        )
        yield made
        made.close()


def test_whatever_the_order_the_promises_hold(queue: Queue) -> None:
    class Machine(JobMachine):
        def __init__(self) -> None:
            super().__init__(queue)

    run(
        Machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


class JobMachine(RuleBasedStateMachine):
    """`held` is what each worker believes it holds, and the requests that it has loaded, if it has."""

    def __init__(self, queue: Queue) -> None:
        super().__init__()
        self.queue = queue
        self.models: list[RegisteredModel] = []
        self.held: dict[int, tuple[Claim, list[uuid.UUID] | None]] = {}
        self.fences: dict[uuid.UUID, int] = {}
        self.over: dict[uuid.UUID, str] = {}

    @initialize()
    def begin(self) -> None:
        self.models = self.queue.begin()

    @rule(model=MODELS)
    def post(self, model: int) -> None:
        self.queue.post(self.models[model])

    @rule(worker=WORKERS)
    def claim(self, worker: int) -> None:
        """A worker that believes it still has a job is busy, or a new process after a crash."""
        claim = self.queue.claim(worker)
        if claim is not None:
            self.held[worker] = claim, None

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        worker, claim, _ = self._one(data)
        self.held[worker] = claim, self.queue.wanted(claim)

    @precondition(lambda self: self.held)
    @rule(worker=WORKERS)
    def take_over(self, worker: int) -> None:
        """The other one stands still past its lease, and goes on to believe that the job is its own."""
        self.held.pop(worker, None)
        self.queue.let_leases_run_out()
        self.queue.sweep()
        self.queue.let_time_pass()
        self.claim(worker)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def beat(self, data: st.DataObject) -> None:
        worker, claim, _ = self._one(data)
        held = self.queue.holds(claim)
        order = self.queue.beat(worker, claim)
        assert (order is Order.LOST) == (not held)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        worker, claim, requests = self._one(data)
        if not requests and not claim.approved:
            return
        held, wanted = self.queue.holds(claim), self.queue.wanted(claim)
        self._act(worker, held, lambda: self.queue.publish(worker, claim, requests))
        made = self.queue.world.value(
            "SELECT count(*) FROM model_versions WHERE job_id = :id", id=claim.job_id
        )
        if made and held:
            assert claim.approved or set(wanted) == set(requests)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def hold_for_review(self, data: st.DataObject) -> None:
        worker, claim, requests = self._one(data)
        if requests and not claim.approved:
            held = self.queue.holds(claim)
            if not held or self.queue.world.job(claim.job_id).status == "running":
                self._act(worker, held, lambda: self.queue.hold(worker, claim, requests))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), order=st.sampled_from([Order.DRAIN, Order.RESTART, Order.CANCEL]))
    def stop(self, data: st.DataObject, order: Order) -> None:
        worker, claim, _ = self._one(data)
        self._act(worker, self.queue.holds(claim), lambda: self.queue.stop(worker, claim, order))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def break_down(self, data: st.DataObject) -> None:
        worker, claim, _ = self._one(data)
        self._act(worker, self.queue.holds(claim), lambda: self.queue.break_down(worker, claim))

    @rule(data=st.data())
    def cancel_a_request(self, data: st.DataObject) -> None:
        requests = self.queue.requests()
        if requests:
            self.queue.cancel_request(data.draw(st.sampled_from(sorted(r.id for r in requests))))

    @rule(data=st.data(), decision=st.sampled_from(["cancel_job", "approve", "reject"]))
    def decide(self, data: st.DataObject, decision: str) -> None:
        jobs = self.queue.jobs()
        if jobs:
            job = data.draw(st.sampled_from(sorted(job.id for job in jobs)))
            getattr(self.queue, decision)(job)

    @rule(what=st.sampled_from(["let_leases_run_out", "let_time_pass", "let_reviews_run_out"]))
    def wait(self, what: str) -> None:
        getattr(self.queue, what)()

    @rule()
    def sweep(self) -> None:
        self.queue.sweep()

    @invariant()
    def promises(self) -> None:
        if not self.models:
            return
        jobs = self.queue.jobs()
        for model in self.models:
            active = [
                job
                for job in jobs
                if job.registered_model_id == model.id
                and job.status in ("running", "cancelling", "needs_review")
            ]
            assert len(active) <= 1
            rows = self.queue.world.rows(
                "SELECT number, job_id FROM model_versions WHERE registered_model_id = :id ORDER BY number",
                id=model.id,
            )
            assert [row.number for row in rows] == list(range(1, len(rows) + 1))
            head = self.queue.world.value(
                "SELECT v.number FROM registered_models m JOIN model_versions v ON v.id = m.head_version_id"
                " WHERE m.id = :id",
                id=model.id,
            )
            assert head == len(rows)
        for job in jobs:
            assert job.fence >= self.fences.get(job.id, 0)
            self.fences[job.id] = job.fence
            attempts = self.queue.world.value("SELECT count(*) FROM attempts WHERE job_id = :id", id=job.id)
            assert attempts == job.fence
            assert job.attempt <= self.queue.settings.max_attempts
        for request in self.queue.requests():
            if request.id in self.over:
                assert request.status == self.over[request.id]
            elif request.status in TERMINAL:
                self.over[request.id] = str(request.status)
                assert request.status != "failed" or request.error_code
                assert (request.status == "succeeded") == (request.result_version_id is not None)

    def teardown(self) -> None:
        """Whatever happened: workers die, candidates expire, and the rest is done by one worker."""
        if not self.models:
            return
        for _ in range(40):
            self.queue.let_leases_run_out()
            self.queue.let_time_pass()
            self.queue.let_reviews_run_out()
            self.queue.sweep()
            while (claim := self.queue.claim(0)) is not None:
                if self.queue.wanted(claim) or claim.approved:
                    self.queue.publish(0, claim, self.queue.wanted(claim))
                else:
                    self.queue.stop(0, claim, Order.CANCEL)
            if not self.queue.unsettled():
                break
        assert self.queue.unsettled() == []
        self.promises()

    def _one(self, data: st.DataObject) -> tuple[int, Claim, list[uuid.UUID]]:
        worker = data.draw(st.sampled_from(sorted(self.held)))
        claim, loaded = self.held[worker]
        return worker, claim, self.queue.wanted(claim) if loaded is None else loaded

    def _act(self, worker: int, held: bool, act: object) -> None:
        """A worker that has lost its lease gets nothing done; afterwards nobody holds the job."""
        assert callable(act)
        if held:
            act()
        else:
            with pytest.raises(LeaseLost):
                act()
        del self.held[worker]
