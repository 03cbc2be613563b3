"""Pauses between attempts."""

from app.core.backoff import FIRST, LONGEST, delay_after


def test_pauses_grow_up_to_a_limit_and_no_two_are_alike() -> None:
    """So that what broke together does not come back together."""
    for attempt in range(1, 12):
        expected = min(LONGEST, FIRST * 2 ** (attempt - 1))
        pauses = [delay_after(attempt).total_seconds() for _ in range(200)]
        assert all(0.75 * expected <= pause <= 1.25 * expected for pause in pauses)
        assert min(pauses) < 0.9 * expected
        assert max(pauses) > 1.1 * expected
