"""Interrupted and resumed, a run ends with the bits it would have ended with; and says how far it is."""

import dataclasses

import pytest

from tests.engine import baseline_bank, baseline_methods
from tests.engine.digits_problem import CPU, QUICK, request, same_bits
from tests.engine.runs import BUDGET, Recorder, run
from worker.engine.contract import Interrupted, Outcome, Recipe
from worker.engine.interference_aware import InterferenceAware


@pytest.mark.parametrize("share", [0.25, 0.5, 0.6, 0.95])
def test_a_resumed_run_ends_with_the_same_bits(share: float) -> None:
    """Interrupted while the reference, the probe or the unlearning runs; a snapshot after every step."""
    eager = InterferenceAware(calibration=QUICK.calibration, snapshot_seconds=0.0)
    asked = request(range(20), (0, 1))
    whole = Recorder()
    expected = run(asked, method=eager, monitor=whole)
    broken = Recorder(interrupt_after=int(share * len(whole.calls)))
    with pytest.raises(Interrupted):
        run(asked, method=eager, monitor=broken)
    assert broken.saved is not None
    resumed = Recorder(saved=broken.saved)
    outcome = run(asked, method=eager, monitor=resumed)
    assert same_bits(outcome.network, expected.network)
    assert outcome.residuals == expected.residuals
    assert outcome.passes == expected.passes
    assert len(resumed.calls) < len(whole.calls)


@pytest.mark.parametrize("stressed", [False, True])
def test_a_run_resumed_under_its_guards_ends_with_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, stressed: bool
) -> None:
    """Engaged from the first step on, with bases found anew every fourth; or by violations, after which the
    network and its momentum were put back. The interruption falls between two bases."""
    monkeypatch.setattr("worker.engine.unlearning.BASIS_LIFETIME", 4)
    eager = dataclasses.replace(
        baseline_methods.GUARDED, guards="when_needed" if stressed else "always", snapshot_seconds=0.0
    )
    asked = baseline_bank.problem((range(12), (0, 1)))
    if stressed:
        asked = dataclasses.replace(asked, recipe=Recipe(learning_rate=0.5, epochs=1))

    def run_it(monitor: Recorder) -> Outcome:
        return eager(asked, BUDGET, seed=1, device=CPU, monitor=monitor)

    whole = Recorder()
    expected = run_it(whole)
    steps = [number for number, call in enumerate(whole.calls, 1) if call[2] == "unlearning"]
    assert len(steps) == expected.steps
    assert (expected.details["trust_region"]["violations"] > 0) == stressed
    broken = Recorder(interrupt_after=steps[-3])
    with pytest.raises(Interrupted):
        run_it(broken)
    assert broken.saved is not None
    assert broken.saved["unlearning"]["done"] == expected.steps - 3
    assert broken.saved["unlearning"]["subspaces"] is not None
    resumed = Recorder(saved=broken.saved)
    outcome = run_it(resumed)
    assert same_bits(outcome.network, expected.network)
    assert outcome.passes == expected.passes
    assert outcome.forward_passes == expected.forward_passes
    assert outcome.details == expected.details
    assert resumed.calls == whole.calls[-len(resumed.calls) :]


def test_a_snapshot_of_another_run_is_ignored() -> None:
    eager = InterferenceAware(calibration=QUICK.calibration, snapshot_seconds=0.0)
    recorder = Recorder()
    run(request(range(20), (0,)), method=eager, monitor=recorder)
    asked = request(range(21), (0,))
    outcome = run(asked, method=eager, monitor=Recorder(saved=recorder.saved))
    assert same_bits(outcome.network, run(asked).network)


def test_progress_is_told_at_every_step_and_ends_at_its_total() -> None:
    recorder = Recorder()
    outcome = run(request(range(20), (0, 1, 2)), monitor=recorder)
    done = [call[0] for call in recorder.calls]
    assert done == sorted(done)
    assert recorder.calls[-1][0] == recorder.calls[-1][1]
    assert len(recorder.calls) > outcome.steps + 80 // 8 + 160 // 16
