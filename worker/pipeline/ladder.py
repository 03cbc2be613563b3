"""What a job tries, one rung after the other, until a candidate keeps its bounds or nothing is left to try.

Which rungs a policy allows, and in which order, is its `on_miss`. What was tried is in the job's row, so that
another attempt goes on with the rung that the one before it was in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

RETRAIN = "retrain"
FIRST, AGAIN, LARGER, EXACT = "first", "unlearn_again", "larger_budget", "retrain"
NEEDS_REVIEW, FAIL = "needs_review", "fail"
BUDGET_FACTOR = 4.0

MISSED, REFUSED = "missed", "refused"

# What a method that unlearns cannot do, and retraining may.
ANSWERED_BY_RETRAINING = ("forget_set_too_large", "holdout_too_small", "network_frozen", "loss_not_finite")


@dataclass(frozen=True)
class Rung:
    """name: first, unlearn_again, larger_budget or retrain. scale: of the budget. why: it was taken."""

    name: str
    method: str
    scale: float = 1.0
    why: str | None = None


def next_rung(
    policy: dict[str, Any], method: str, empirical_steps: int, tried: Sequence[dict[str, Any]]
) -> Rung | None:
    """None when nothing is left to try. method: the job's. empirical_steps: behind the base."""
    if not tried:
        return _first(policy, method, empirical_steps)
    last, names = tried[-1], {record["rung"] for record in tried}
    unlearns = last["method"] != RETRAIN
    if unlearns and last["only_earlier"] and AGAIN not in names:
        why = "what earlier requests had forgotten came back"
        return Rung(AGAIN, last["method"], last["scale"], why)
    refused = any(record["result"] == REFUSED for record in tried)
    for step in steps_of(policy):
        if step == LARGER and LARGER not in names and unlearns and not refused:
            return Rung(
                LARGER, method, float(policy.get("budget_factor", BUDGET_FACTOR)), why=last["why_not"]
            )
        if step == EXACT and all(record["method"] != RETRAIN for record in tried):
            return Rung(EXACT, RETRAIN, why=last["why_not"])
        if step in (NEEDS_REVIEW, FAIL):
            return None
    return None


def steps_of(policy: dict[str, Any]) -> list[str]:
    """A policy of earlier days names the last step alone."""
    steps = policy.get("on_miss", NEEDS_REVIEW)
    return [steps] if isinstance(steps, str) else list(steps)


def fails_in_the_end(policy: dict[str, Any]) -> bool:
    """Whether a job that has tried everything fails, in place of waiting for a person."""
    return steps_of(policy)[-1:] == [FAIL]


def how_far(tried: Sequence[dict[str, Any]], policy: dict[str, Any], rung: Rung) -> int:
    """How many rungs there may be at most, for progress: those tried, this one, and those that are left."""
    names = {record["rung"] for record in tried} | {rung.name}
    left = [step for step in steps_of(policy) if step in (LARGER, EXACT) and step not in names]
    return len(tried) + 1 + len(left)


def _first(policy: dict[str, Any], method: str, empirical_steps: int) -> Rung:
    most = policy.get("max_empirical_steps")
    if method != RETRAIN and most is not None and empirical_steps >= int(most):
        steps = (
            "1 approximate step lies" if empirical_steps == 1 else f"{empirical_steps} approximate steps lie"
        )
        return Rung(EXACT, RETRAIN, why=f"{steps} behind the base, and the policy allows {most}")
    return Rung(FIRST, method)
