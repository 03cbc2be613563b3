"""Posts, claims, heartbeats, expiries, publications, cancellations and decisions, in any order.

After every step the promises hold; and at the end, whatever happened, the work comes to rest.
"""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run

from app.core.settings import Settings
from app.standalone.postgres import PostgresServer
from models import RegisteredModel
from models.states import TERMINAL
from tests.database import Database, temporary_database
from tests.machine.promises import broken, pairs_that_differ
from tests.machine.queue import Queue
from worker.jobs.heartbeat import Order
from worker.jobs.lease import Claim, LeaseLost

WORKERS = st.sampled_from([0, 1])
MODELS = st.sampled_from([0, 1])
# What runs do most often comes most often.
STEPS = ["publish", "publish", "publish", "load", "hold", "beat", "break_down", "drain", "restart", "cancel"]
# What a worker does that has not noticed yet that it lost its job.
VAIN_STEPS = st.sampled_from(["publish", "beat", "hold", "break_down", "drain", "cancel"])
EXAMPLES, STEP_COUNT = 9, 50
WORDS = st.sampled_from(["approve_request", "approve_request", "reject_request", "retry_request"])
DECISIONS = st.sampled_from(["cancel_job", "approve", "approve", "reject", "retry"])
TIMES = st.sampled_from(["let_time_pass", "let_time_pass", "let_reviews_run_out"])


@pytest.fixture
def queue(postgres: PostgresServer, tmp_path: Path) -> Iterator[Queue]:
    with temporary_database(postgres.superuser_url) as url:
        database = Database(url)
        made = Queue(
            database,
            Settings(
                database_url=database.app_url,
                relay_database_url=database.relay_url,
                worker_database_url=database.worker_url,
                broker_url="redis://127.0.0.1:1/0",
                storage_url=f"file://{tmp_path}/storage",
                hash_key="00112233445566778899aabbccddeeff" * 2,
                lease_seconds=60,
                max_attempts=2,
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
            max_examples=EXAMPLES,
            stateful_step_count=STEP_COUNT,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # shrinking on a database takes minutes
        ),
    )


class JobMachine(RuleBasedStateMachine):
    """`held` is what each worker believes it holds, and the requests that it has loaded."""

    def __init__(self, queue: Queue) -> None:
        super().__init__()
        self.queue = queue
        self.models: list[RegisteredModel] = []
        self.held: dict[int, tuple[Claim, list[uuid.UUID]]] = {}
        self.over: dict[uuid.UUID, str] = {}
        self.open: list[uuid.UUID] = []

    @initialize()
    def begin(self) -> None:
        self.models = self.queue.begin()

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        """One rule, and not one for each: hypothesis would leave most of them out of most examples."""
        choices = ["post", "post_and_claim", "post_and_claim", "wait"]
        choices += ["work", "work", "work", "lose", "lose", "lose"] if self.held else []
        choices += ["post_what_waits"]
        choices += ["take_back", "take_back"] if self.open else []
        choices += ["give_a_word"] if self.queue.waited_ever() else []
        choices += ["decide"] if self.queue.jobs() else []
        choices += ["go_back"] if len(self.over) > 1 else []
        getattr(self, data.draw(st.sampled_from(choices)))(data)

    def post(self, data: st.DataObject) -> None:
        self.queue.post(self.models[data.draw(MODELS)])

    def post_and_claim(self, data: st.DataObject) -> None:
        model = self.models[data.draw(MODELS)]
        for _ in range(data.draw(st.sampled_from([1, 2, 2]))):
            self.queue.post(model)
        self.claim(data.draw(WORKERS))

    def lose(self, data: st.DataObject) -> None:
        """Workers stand still past their leases, and go on to believe that the jobs are theirs. When the
        relay has swept, one of them is a new process and takes over what it can."""
        self.queue.let_leases_run_out()
        if data.draw(st.booleans()):
            worker = data.draw(WORKERS)
            self.held.pop(worker, None)
            self.queue.sweep()
            self.promises()
            self.queue.let_time_pass()
            self.claim(worker)
        for each, (claim, _) in sorted(self.held.items()):
            if not self.queue.holds(claim):
                self.step(each, data.draw(VAIN_STEPS))

    def work(self, data: st.DataObject) -> None:
        """A worker does its next step, whether or not the job is still its own."""
        self.step(data.draw(st.sampled_from(sorted(self.held))), data.draw(st.sampled_from(STEPS)))

    def take_back(self, data: st.DataObject) -> None:
        self.queue.cancel_request(data.draw(st.sampled_from(self.open)))

    def post_what_waits(self, data: st.DataObject) -> None:
        self.queue.post_what_waits(self.models[data.draw(MODELS)])

    def give_a_word(self, data: st.DataObject) -> None:
        """On what waits for one, or waited, or goes on by now: it may be too late."""
        self.over.clear()
        getattr(self.queue, data.draw(WORDS))(data.draw(st.sampled_from(self.queue.waited_ever())))

    def decide(self, data: st.DataObject) -> None:
        self.over.clear()  # what has failed may be open again
        getattr(self.queue, data.draw(DECISIONS))(data.draw(st.sampled_from(self.queue.jobs())))

    def go_back(self, data: st.DataObject) -> None:
        self.over.clear()  # what has succeeded is open again
        self.queue.go_back(self.models[data.draw(MODELS)])

    def wait(self, data: st.DataObject) -> None:
        """And nobody is left waiting for a worker to obey."""
        what = data.draw(TIMES)
        getattr(self.queue, what)()
        self.queue.sweep()
        if what == "let_time_pass":
            assert not [each for each in self.queue.unsettled() if each.endswith("is cancelling")]

    def claim(self, worker: int) -> None:
        """A worker that believes it still has a job is a new process after a crash."""
        claim = self.queue.claim(worker)
        if claim is not None:
            self.held[worker] = claim, self.queue.wanted(claim)

    def step(self, worker: int, act: str) -> None:
        claim, loaded = self.held[worker]
        if act == "load":
            self.held[worker] = claim, self.queue.wanted(claim)
        elif act == "beat":
            expected = self._order(claim, loaded)
            assert self.queue.beat(worker, claim, loaded) == expected
        elif act == "publish":
            self._publish(worker, claim, loaded)
        elif act == "hold":
            self._hold(worker, claim, loaded)
        elif act == "break_down":
            self._act(worker, claim, lambda: self.queue.break_down(worker, claim))
        else:
            self._act(worker, claim, lambda: self.queue.stop(worker, claim, Order(act)))

    @invariant()
    def promises(self) -> None:
        if not self.models:
            return
        assert broken(self.queue) == []
        requests = self.queue.requests()
        self.open = sorted(request.id for request in requests if request.status not in TERMINAL)
        for request in requests:
            if request.id in self.over:
                assert request.status == self.over[request.id]
            elif request.status in TERMINAL:
                self.over[request.id] = str(request.status)

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
        assert pairs_that_differ(self.queue) == 0

    def _order(self, claim: Claim, loaded: list[uuid.UUID]) -> Order | None:
        """What the heartbeat has to bring in."""
        if not self.queue.holds(claim):
            return Order.LOST
        wanted = len(self.queue.wanted(claim))
        if self.queue.ordered_to_cancel(claim) or (loaded and not wanted):
            return Order.CANCEL
        return Order.RESTART if wanted < len(loaded) else None

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
