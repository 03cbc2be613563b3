"""Which share of a model's supervision would be gone without a person's word, if a request were carried out.

Counted are (instance, task) pairs that exist and were not forgotten before: what several requests name counts
once. Requests that failed, were cancelled or wait for approval themselves take nothing. A person's word
begins the count anew: what is asked for after it is measured by what was left then.

Bounds that cost next to nothing come first; the count itself when they come near. Whoever may come near holds
the model against others who may, until the commit.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.core.instances import NamedInstances
from app.deletion_requests.allowance import Allowance, Reason
from app.deletion_requests.taking import COUNTED, Taken, taken

# A request that takes less than this part of what may still go does not stand in line: however many of them
# come at the same instant, together they overdraw by little.
_SMALL = 200

_HOLD = text("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:model_id AS text), 10))")
# When the counts began, and at most so much was asked for since. `promised`: something that was asked for
# before is under way still.
_ASKED = text(f"""
WITH began AS (
  SELECT word, greatest(word, now() - make_interval(secs => :window_seconds)) AS in_window FROM (
    SELECT coalesce(max(approved_at), 'epoch') AS word FROM deletion_requests
    WHERE registered_model_id = :model_id AND approved_at IS NOT NULL
  ) AS last
)
SELECT began.word, began.in_window,
  coalesce(sum(r.instance_count - r.already_forgotten), 0) AS since_word,
  coalesce(sum(r.instance_count - r.already_forgotten) FILTER (WHERE r.created_at > began.in_window), 0)
    AS since_window,
  EXISTS (
    SELECT FROM deletion_requests p WHERE p.registered_model_id = :model_id AND p.created_at <= began.word
      AND p.status NOT IN ('succeeded', 'failed', 'cancelled') AND p.status <> 'awaiting_approval'
  ) AS promised
FROM began LEFT JOIN deletion_requests r
  ON r.registered_model_id = :model_id AND r.created_at > began.word AND {COUNTED}
GROUP BY began.word, began.in_window
""")  # noqa: S608 (constants of ours)


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, and the tasks of it that would lose supervision. `remaining`: labels per task that no version
    has forgotten."""

    model_id: uuid.UUID
    dataset_id: uuid.UUID
    tasks: Sequence[str]
    bits: Sequence[int]
    remaining: Sequence[int]
    allowance: Allowance


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is known without counting. `gone`: per task, at most so many labels were ever forgotten; None when
    that cannot be told. `pending`: at most so many are promised. `fresh`: per task, at most so many would go
    now; so many, where that is `exact`."""

    gone: Sequence[int] | None
    pending: int
    fresh: Sequence[int]
    exact: bool


@dataclass(frozen=True, slots=True)
class Share:
    """Of one task, with the request counted in: since the last word, and within the window."""

    task: str
    since_last_word: float
    in_window: float


@dataclass(frozen=True, slots=True)
class Asked:
    """When the counts began, the one since the last word and the window's, and what was asked for since."""

    word: datetime
    window: datetime
    since_word: int
    since_window: int
    promised: bool


Named = NamedInstances | Sequence[uuid.UUID]
"""Instances as they were sent, or those of requests that are recorded already."""


def too_much(session: Session, subject: Subject, named: Named, bounds: Bounds | None) -> list[Reason]:
    """Why the request needs a person's word; empty when it does not. Without `bounds` it is counted."""
    allowed = subject.allowance
    if allowed.bounds_nothing or (bounds is not None and _is_small(subject, bounds)):
        return []
    session.execute(_HOLD, {"model_id": subject.model_id})
    asked = _asked(session, subject)
    if bounds is not None and _is_little(subject, bounds, asked):
        return []
    known = bounds is not None and bounds.exact and not asked.since_word and not asked.promised
    shares = _alone(subject, bounds.fresh) if bounds and known else _counted(session, subject, named, asked)
    return [reason for share in shares for reason in _reasons(share, allowed)]


def measure(session: Session, subject: Subject, named: Named) -> list[Share]:
    """Counted, for each task."""
    return _counted(session, subject, named, _asked(session, subject))


def _alone(subject: Subject, fresh: Sequence[int]) -> list[Share]:
    """Nothing else is to be counted in."""
    alone = [_part(goes, left) for goes, left in zip(fresh, subject.remaining, strict=True)]
    return [Share(task, part, part) for task, part in zip(subject.tasks, alone, strict=True)]


def _counted(session: Session, subject: Subject, named: Named, asked: Asked) -> list[Share]:
    found = taken(
        session,
        model_id=subject.model_id,
        dataset_id=subject.dataset_id,
        tasks=subject.tasks,
        bits=subject.bits,
        named=named,
        since=(asked.word, asked.window),
    )
    return [
        Share(task, *(_of(counts, remaining) for counts in of_task))
        for task, remaining, of_task in zip(subject.tasks, subject.remaining, found, strict=True)
    ]


def _of(counts: Taken, remaining: int) -> float:
    return _part(counts.taken, remaining + counts.settled - counts.promised)


def _part(goes: int, left: int) -> float:
    if not goes:
        return 0.0
    return min(1.0, goes / left) if left > 0 else 1.0


def _is_small(subject: Subject, bounds: Bounds) -> bool:
    """By what is known already."""
    if bounds.gone is None:
        return False
    least = min(subject.allowance.share, subject.allowance.window_share)
    for remaining, gone, fresh in zip(subject.remaining, bounds.gone, bounds.fresh, strict=True):
        may_go = least * max(0, remaining - bounds.pending)
        if fresh and gone + bounds.pending + fresh * _SMALL > may_go:
            return False
    return True


def _is_little(subject: Subject, bounds: Bounds, asked: Asked) -> bool:
    """As if everything that was asked for since had been there to be taken, and nothing twice."""
    allowed = subject.allowance
    return all(
        before + fresh <= share * max(0, remaining - bounds.pending)
        for before, share in (
            (asked.since_word, allowed.share),
            (asked.since_window, allowed.window_share),
        )
        for remaining, fresh in zip(subject.remaining, bounds.fresh, strict=True)
        if fresh and share < 1
    )


def _asked(session: Session, subject: Subject) -> Asked:
    seconds = subject.allowance.window_days * 86_400
    bound: dict[str, Any] = {"model_id": subject.model_id, "window_seconds": seconds}
    return Asked(*session.execute(_ASKED, bound).one())


def _reasons(share: Share, allowed: Allowance) -> Iterator[Reason]:
    counts = (
        ("share", share.since_last_word, allowed.share, "since a person last approved of something"),
        ("window_share", share.in_window, allowed.window_share, f"within {allowed.window_days:g} days"),
    )
    for code, goes, limit, when in counts:
        if limit < 1 and goes > limit:
            detail = (
                f"It would take {goes:.1%} of the supervision of task {share.task!r}, with what was asked "
                f"for {when} counted in; {limit:.1%} may go without a person's approval."
            )
            yield Reason(code, detail, share.task, round(goes, 4), limit)
