"""A run that hangs loses its process, and with it the device."""

import threading
from pathlib import Path

import pytest

from models import RegisteredModel
from tests.worker.scripted import playing
from tests.worker.tiny import Tiny
from tests.worker.world import World
from worker.engine.data import FORMATS, Description, Format, alive
from worker.equipment import equip, put_away
from worker.jobs import watchdog
from worker.jobs.monitor import JobMonitor
from worker.jobs.watchdog import Watchdog
from worker.run import run_next

CANCEL = "UPDATE jobs SET status = 'cancelling', cancel_requested_at = now() WHERE status = 'running'"
FENCE_OFF = "UPDATE jobs SET fence = fence + 1 WHERE status = 'running'"


@pytest.mark.usefixtures("quick_heart")
@pytest.mark.parametrize(("change", "stall_seconds"), [(CANCEL, 600.0), (FENCE_OFF, 600.0), (None, 0.3)])
def test_it_is_ended_when_it_neither_obeys_nor_asks(
    world: World,
    model: RegisteredModel,
    monkeypatch: pytest.MonkeyPatch,
    change: str | None,
    stall_seconds: float,
) -> None:
    """In the middle of something that never returns: here until the process would have been ended."""
    monkeypatch.setattr(watchdog, "PATIENCE", 0.3)
    ended = threading.Event()
    settings = world.settings.model_copy(update={"stall_seconds": stall_seconds, "lease_seconds": 1.5})
    own = equip(settings, "hangs", abandon=ended.set)
    world.job_with_request(model)

    def hang(monitor: JobMonitor) -> None:
        if change is not None:
            world.execute(change)
        assert ended.wait(60)

    with playing(monkeypatch, hang):
        assert run_next(own)
    put_away(own)


@pytest.mark.usefixtures("quick_heart")
@pytest.mark.parametrize("shows_life", [True, False])
def test_reading_may_take_long_as_long_as_it_shows_life(
    world: World, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, shows_life: bool
) -> None:
    """Block by block: twice as long as a run may be silent."""
    ended = threading.Event()
    settings = world.settings.model_copy(update={"stall_seconds": 1.0, "lease_seconds": 1.5})
    own = equip(settings, "reads", abandon=ended.set)
    tenant = world.tenant(roots=[str(tiny.folder)])
    world.dataset(tenant, str(tiny.train), None)
    arrays = FORMATS["arrays"]

    def describe(path: Path) -> Description:
        if not shows_life:
            ended.wait(60)
        for _ in range(20):
            alive()
            if ended.wait(0.1):
                break
        return arrays.describe(path)

    monkeypatch.setitem(FORMATS, "arrays", Format(describe, arrays.open))
    assert run_next(own)
    assert ended.is_set() is not shows_life
    put_away(own)


def test_it_leaves_a_run_alone_that_asks_for_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("worker.jobs.watchdog.time.monotonic", lambda: clock[0])
    bites: list[float] = []
    dog = Watchdog(10.0, lambda: bites.append(clock[0]))
    for second in range(100):
        clock[0] = float(second)
        if second % 9 == 0:
            dog.seen()
        assert not dog.look(must_end=False)
    clock[0] = 110.0
    assert dog.look(must_end=False)
    assert bites == [110.0]


def test_an_order_is_obeyed_within_seconds_or_else(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("worker.jobs.watchdog.time.monotonic", lambda: clock[0])
    bites: list[float] = []
    dog = Watchdog(600.0, lambda: bites.append(clock[0]))
    while not bites:
        dog.seen()
        dog.look(must_end=True)
        clock[0] += 1.0
    assert bites[0] < 7.0
