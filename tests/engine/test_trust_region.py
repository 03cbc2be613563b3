"""The trust region's verdicts, one after the other."""

from worker.engine.trust_region import STEPS_AFTER_RESTORING, TrustRegion


def test_bound_is_half_way_to_the_holdout() -> None:
    assert TrustRegion(1.0, 3.0).bound == 2.0


def test_a_network_without_a_gap_still_has_room() -> None:
    assert TrustRegion(1.0, 0.9).bound > 1.0


def test_quiet_steps_are_snapshots_and_no_guard_engages() -> None:
    region, verdict = TrustRegion(1.0, 3.0).observe([1.0, 1.1, 1.0, 1.2])
    assert verdict == "snapshot"
    assert not region.guarded
    assert region.inside


def test_violations_restore_engage_the_guards_and_only_then_halve_the_rate() -> None:
    region, _ = TrustRegion(1.0, 3.0).observe([1.0] * 4)
    region, verdict = region.observe([50.0] * 4)
    assert verdict == "restore"
    assert region.guarded
    assert region.rate == 1.0
    assert region.smoothed == 1.0, "the smoothed loss goes back too, else the region locks"
    region, verdict = region.observe([50.0] * 4)
    assert verdict == "restore"
    assert region.rate == 0.5


def test_guards_can_be_engaged_always_or_never() -> None:
    assert TrustRegion(1.0, 3.0, guards="always").guarded
    region, verdict = TrustRegion(1.0, 3.0, guards="never").observe([50.0] * 4)
    assert verdict == "restore"
    assert not region.guarded


def test_no_snapshot_right_after_restoring_or_near_the_bound() -> None:
    region, _ = TrustRegion(1.0, 3.0).observe([50.0] * 4)
    assert region.since_restoring == 0
    region, verdict = region.observe([1.0] * (STEPS_AFTER_RESTORING - 1))
    assert verdict == "inside"
    _, verdict = region.observe([1.0])
    assert verdict == "snapshot"
    _, verdict = region.observe([1.9] * 40)
    assert verdict == "inside"
