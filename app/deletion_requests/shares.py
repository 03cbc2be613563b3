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
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.core.instances import UNPACKED, NamedInstances
from app.deletion_requests.allowance import Allowance, Reason

# A request that takes less than this part of what may still go does not stand in line: however many of them
# come at the same instant, together they overdraw by little.
_SMALL = 200

_HOLD = text("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:model_id AS text), 10))")
_LAST_WORD = text(
    "SELECT now() AS now, (SELECT max(approved_at) FROM deletion_requests"
    " WHERE registered_model_id = :model_id AND approved_at IS NOT NULL) AS last_word"
)
_COUNTED = "r.status NOT IN ('awaiting_approval', 'failed', 'cancelled')"
_AT_MOST = text(
    "SELECT coalesce(sum(r.instance_count - r.already_forgotten), 0) FROM deletion_requests r"  # noqa: S608
    f" WHERE r.registered_model_id = :model_id AND r.created_at > :since AND {_COUNTED}"
)
_SENT = UNPACKED
_RECORDED = (
    "SELECT instance_hash FROM deletion_request_items WHERE deletion_request_id = ANY(CAST(:ids AS uuid[]))"
)
# `earlier`: promised before the count began, and under way still; neither taken nor left.
_TAKEN = """
WITH named AS (
  SELECT instance_hash, false AS earlier FROM ({named}) AS sent
  UNION ALL
  SELECT i.instance_hash, r.created_at <= :since
  FROM deletion_requests r JOIN deletion_request_items i ON i.deletion_request_id = r.id
  WHERE r.registered_model_id = :model_id AND :task = ANY(r.tasks) AND {counted}
    AND (r.created_at > :since OR r.status <> 'succeeded')
), pair AS (
  SELECT instance_hash, bool_or(earlier) AS earlier FROM named GROUP BY instance_hash
)
SELECT count(*) FILTER (WHERE NOT pair.earlier AND (ledger.task IS NULL OR by.created_at > :since)) AS taken,
  count(*) FILTER (WHERE NOT pair.earlier AND by.created_at > :since) AS settled,
  count(*) FILTER (WHERE pair.earlier AND ledger.task IS NULL) AS promised
FROM pair
LEFT JOIN forgotten_supervision ledger ON ledger.registered_model_id = :model_id AND ledger.task = :task
  AND ledger.instance_hash = pair.instance_hash AND ledger.version_id IS NOT NULL
LEFT JOIN deletion_requests by ON by.id = ledger.deletion_request_id
WHERE EXISTS (
  SELECT FROM dataset_instances d
  WHERE d.instance_hash = pair.instance_hash AND d.supervised & :bit <> 0 AND d.dataset_id IN (
    SELECT CAST(:dataset_id AS uuid)
    UNION ALL SELECT dataset_id FROM former_datasets WHERE registered_model_id = :model_id
  )
)
"""
_TAKEN_WITH_SENT = text(_TAKEN.format(named=_SENT, counted=_COUNTED))
_TAKEN_WITH_RECORDED = text(_TAKEN.format(named=_RECORDED, counted=_COUNTED))
_EVER = datetime(1970, 1, 1).astimezone()


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
    that cannot be told. `pending`: at most so many are promised. `fresh`: per task, so many would go now."""

    gone: Sequence[int] | None
    pending: int
    fresh: Sequence[int]


@dataclass(frozen=True, slots=True)
class Share:
    """Of one task, with the request counted in: since the last word, and within the window."""

    task: str
    since_last_word: float
    in_window: float


Named = NamedInstances | Sequence[uuid.UUID]
"""Instances as they were sent, or those of requests that are recorded already."""


def too_much(session: Session, subject: Subject, named: Named, bounds: Bounds | None) -> list[Reason]:
    """Why the request needs a person's word; empty when it does not. Without `bounds` it is counted."""
    allowed = subject.allowance
    if allowed.bounds_nothing or (bounds is not None and _is_small(subject, bounds)):
        return []
    session.execute(_HOLD, {"model_id": subject.model_id})
    if bounds is not None and _is_little(session, subject, bounds):
        return []
    return [reason for share in measure(session, subject, named) for reason in _reasons(share, allowed)]


def measure(session: Session, subject: Subject, named: Named) -> list[Share]:
    """Counted, for each task."""
    word, window = _since(session, subject)
    if _asked_since(session, subject, word) == _asked_since(session, subject, window):
        window = word  # nothing was asked for in between: one count says it all
    shares = []
    for task, bit, remaining in zip(subject.tasks, subject.bits, subject.remaining, strict=True):
        total = _share(session, subject, named, task, bit, remaining, word)
        recent = total if window <= word else _share(session, subject, named, task, bit, remaining, window)
        shares.append(Share(task, total, recent))
    return shares


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


def _is_little(session: Session, subject: Subject, bounds: Bounds) -> bool:
    """As if everything that was asked for since had been there to be taken, and nothing twice."""
    word, window = _since(session, subject)
    asked = {since: _asked_since(session, subject, since) for since in {word, window}}
    return all(
        asked[since] + fresh <= share * max(0, remaining - bounds.pending)
        for since, share in ((word, subject.allowance.share), (window, subject.allowance.window_share))
        for remaining, fresh in zip(subject.remaining, bounds.fresh, strict=True)
        if fresh and share < 1
    )


def _asked_since(session: Session, subject: Subject, since: datetime) -> int:
    return int(session.execute(_AT_MOST, {"model_id": subject.model_id, "since": since}).scalar_one())


def _since(session: Session, subject: Subject) -> tuple[datetime, datetime]:
    """When the counts began: the one since the last word, and the window's."""
    row = session.execute(_LAST_WORD, {"model_id": subject.model_id}).one()
    word: datetime = row.last_word or _EVER
    return word, max(word, row.now - timedelta(days=subject.allowance.window_days))


def _share(
    session: Session, subject: Subject, named: Named, task: str, bit: int, remaining: int, since: datetime
) -> float:
    bound: dict[str, Any] = {"model_id": subject.model_id, "dataset_id": subject.dataset_id}
    bound |= {"task": task, "bit": bit, "since": since}
    if isinstance(named, NamedInstances):
        bound |= {"packed": named.packed, "instance_count": named.count}
        row = session.execute(_TAKEN_WITH_SENT, bound).one()
    else:
        row = session.execute(_TAKEN_WITH_RECORDED, bound | {"ids": list(named)}).one()
    left_then = remaining + row.settled - row.promised
    if not row.taken:
        return 0.0
    return min(1.0, row.taken / left_then) if left_then > 0 else 1.0


def _reasons(share: Share, allowed: Allowance) -> Iterator[Reason]:
    counts = (
        ("share", share.since_last_word, allowed.share, "since a person last approved of something"),
        ("window_share", share.in_window, allowed.window_share, f"within {allowed.window_days:g} days"),
    )
    for code, taken, limit, when in counts:
        if limit < 1 and taken > limit:
            detail = (
                f"It would take {taken:.1%} of the supervision of task {share.task!r}, with what was asked "
                f"for {when} counted in; {limit:.1%} may go without a person's approval."
            )
            yield Reason(code, detail, share.task, round(taken, 4), limit)
