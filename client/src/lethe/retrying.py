"""Whether to ask again, and when: a decision that is separate from doing it.

Asked again is after a connection error, 429, 502, 503 and 504; waited is as long as `Retry-After` says, else
twice as long as before, with full jitter. What may have been carried out is only sent again when carrying
it out twice does no harm.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from lethe.plan import Answer, Exchange, NoAnswer, Outcome, Pause, Plan, Sink

T = TypeVar("T")
_REFUSED_UNSEEN = frozenset({429})
_AWAY = frozenset({502, 503, 504})


@dataclass(frozen=True)
class Retries:
    """At most `attempts`; up to `first` seconds before the second, never more than `most` before any."""

    attempts: int = 5
    first: float = 0.5
    most: float = 60.0

    def pause(self, outcome: Outcome, attempt: int, *, repeatable: bool) -> float | None:
        """Seconds until the next attempt; None when there is none. `attempt` counts from 1."""
        if attempt >= self.attempts or not _worth_it(outcome, repeatable):
            return None
        if isinstance(outcome, Answer) and (asked := retry_after(outcome)) is not None:
            # A longer wait is the caller's to decide.
            return asked + random.uniform(0, self.first) if asked <= self.most else None  # noqa: S311
        return random.uniform(0, min(self.most, self.first * 2 ** (attempt - 1)))  # noqa: S311

    def carry_out(self, plan: Plan[T]) -> Plan[T]:
        """The same plan, whose exchanges are repeated where that may help."""
        outcome: Outcome | None = None
        while True:
            try:
                step = plan.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, Pause):
                yield step
                outcome = None
            else:
                outcome = yield from self._attempts(step)

    def _attempts(self, step: Exchange | Sink) -> Plan[Outcome]:
        attempt, kept = 1, _kept(step)
        while True:
            outcome: Outcome = yield step
            if _kept(step) > kept:  # a download that gets on is not about to fail
                attempt, kept = 1, _kept(step)
            repeatable = step.outgoing.repeatable if isinstance(step, Exchange) else True
            pause = self.pause(outcome, attempt, repeatable=repeatable)
            if pause is None:
                return outcome
            yield Pause(pause)
            attempt += 1


def _kept(step: Exchange | Sink) -> int:
    return 0 if isinstance(step, Exchange) else step.kept()


def retry_after(answer: Answer) -> float | None:
    """Seconds (RFC 9110 section 10.2.3), from a number or a date."""
    sent = answer.headers.get("retry-after", "").strip()
    if sent.isascii() and sent.isdigit() and len(sent) < 10:
        return float(sent)
    try:
        moment = parsedate_to_datetime(sent)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _worth_it(outcome: Outcome, repeatable: bool) -> bool:
    if isinstance(outcome, NoAnswer):
        return repeatable or not outcome.arrived
    return outcome.status in _REFUSED_UNSEEN or (repeatable and outcome.status in _AWAY)
