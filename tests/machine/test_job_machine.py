"""Posts, claims, heartbeats, expiries, publications and cancellations in any order, by two workers.

After every step the promises hold; and at the end, whatever happened, the work comes to rest.
"""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
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
# What runs do most often comes most often.
STEPS = ["publish", "publish", "publish", "load", "hold", "beat", "break_down", "drain", "restart", "cancel"]


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
            max_examples=10,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # shrinking on a database takes minutes
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
        self.open: set[uuid.UUID] = set()

    @initialize()
    def begin(self) -> None:
        self.models = self.queue.begin()

    @rule(model=MODELS, worker=WORKERS)
    def post_and_claim(self, model: int, worker: int) -> None:
        self.queue.post(self.models[model])
        self.claim(worker)

    @rule(model=MODELS)
    def post(self, model: int) -> None:
        self.queue.post(self.models[model])

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
    @rule(data=st.data(), act=st.sampled_from(STEPS))
    def go_on(self, data: st.DataObject, act: str) -> None:
        """A worker does its next step, whether or not the job is still its own."""
        worker = data.draw(st.sampled_from(sorted(self.held)))
        claim, loaded = self.held[worker]
        if act == "load":
            self.held[worker] = claim, self.queue.wanted(claim)
        elif act == "beat":
            lost = not self.queue.holds(claim)
            assert (self.queue.beat(worker, claim) is Order.LOST) == lost
        elif act == "publish":
            self._publish(worker, claim, self.queue.wanted(claim) if loaded is None else loaded)
        elif act == "hold":
            self._hold(worker, claim, self.queue.wanted(claim) if loaded is None else loaded)
        elif act == "break_down":
            self._act(worker, claim, lambda: self.queue.break_down(worker, claim))
        else:
            self._act(worker, claim, lambda: self.queue.stop(worker, claim, Order(act)))

    @precondition(lambda self: self.posted())
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        self.queue.cancel_request(data.draw(st.sampled_from(self.posted())))

    @precondition(lambda self: self.fences)
    @rule(data=st.data(), decision=st.sampled_from(["cancel_job", "approve", "reject"]))
    def decide(self, data: st.DataObject, decision: str) -> None:
        getattr(self.queue, decision)(data.draw(st.sampled_from(sorted(self.fences))))

    @rule(what=st.sampled_from(["let_leases_run_out", "let_time_pass", "let_reviews_run_out"]))
    def wait(self, what: str) -> None:
        getattr(self.queue, what)()
        self.queue.sweep()

    def posted(self) -> list[uuid.UUID]:
        """Requests that are not settled, as far as the last look goes."""
        return sorted(self.open)

    def claim(self, worker: int) -> None:
        """A worker that believes it still has a job is a new process after a crash."""
        claim = self.queue.claim(worker)
        if claim is not None:
            self.held[worker] = claim, None

    @invariant()
    def promises(self) -> None:
        if not self.models:
            return
        for line in self.queue.lines():
            assert line.active <= 1
            assert line.numbers == list(range(1, len(line.numbers) + 1))
            assert line.head == len(line.numbers)
        for job in self.queue.claims_on_record():
            assert job.fence >= self.fences.get(job.id, 0)
            self.fences[job.id] = job.fence
            assert job.attempts == job.fence
            assert job.attempt <= self.queue.settings.max_attempts
        requests = self.queue.requests()
        self.open = {request.id for request in requests if request.status not in TERMINAL}
        for request in requests:
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

    def _publish(self, worker: int, claim: Claim, requests: list[uuid.UUID]) -> None:
        if not requests and not claim.approved:
            return
        held, wanted = self.queue.holds(claim), self.queue.wanted(claim)
        self._act(worker, claim, lambda: self.queue.publish(worker, claim, requests))
        made = self.queue.world.value(
            "SELECT count(*) FROM model_versions WHERE job_id = :id", id=claim.job_id
        )
        if made and held:
            assert claim.approved or set(wanted) == set(requests)

    def _hold(self, worker: int, claim: Claim, requests: list[uuid.UUID]) -> None:
        if not requests or claim.approved:
            return
        if not self.queue.holds(claim) or self.queue.world.job(claim.job_id).status == "running":
            self._act(worker, claim, lambda: self.queue.hold(worker, claim, requests))

    def _act(self, worker: int, claim: Claim, act: Callable[[], object]) -> None:
        """A worker that has lost its lease gets nothing done; afterwards nobody holds the job."""
        if self.queue.holds(claim):
            act()
        else:
            with pytest.raises(LeaseLost):
                act()
        del self.held[worker]
