"""A short, seeded run of what `make chaos` runs for an hour."""

import pytest

from chaos.run import run_seed

SEED = 20261124
KINDS = (
    "kill child",
    "crash at publish.after-commit",
    "flip a bit",
    "crash postgres",
    "kill api",
    "flush redis",
)


@pytest.mark.timeout(300)
def test_nothing_is_lost_and_nothing_is_done_twice(capsys: pytest.CaptureFixture[str]) -> None:
    verdict = run_seed(SEED, len(KINDS), print, KINDS)
    assert verdict.broken == []
    assert (verdict.lost, verdict.doubled) == (0, 0)
    assert verdict.accepted > len(KINDS)
    assert len({fault.kind for fault in verdict.faults}) == len(KINDS)
