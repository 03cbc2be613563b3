"""Events as they happen: server-sent events, taken up again after the last one that came.

The service ends the stream when the request has ended, and from time to time so that the key is looked at
again; it says by 204 that nothing will come any more (WHATWG HTML section 9.2).
"""

import json
from collections.abc import Mapping

from httpx_sse import ServerSentEvent

from lethe.answers import Event
from lethe.errors import Problem, Unreachable, problem
from lethe.plan import Answer, NoAnswer, Outcome, Outgoing
from lethe.retrying import Retries

NOTHING_MORE = 204


class Following:
    """Where a stream is. `lethe.client` opens it, hands over what comes, and asks what to do when it ends."""

    def __init__(self, path: str, after: int, retries: Retries) -> None:
        self._path = path
        self._retries = retries
        self._last = after
        self._attempt = 0
        self.over = False

    def attempt(self) -> Outgoing:
        self._attempt += 1
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._last:
            headers["Last-Event-ID"] = str(self._last)
        return Outgoing("GET", self._path, headers=headers)

    def received(self, sent: ServerSentEvent) -> Event | None:
        """None: a block without data is no event (section 9.2.6), though the parser hands it over."""
        if not sent.data:
            return None
        self._attempt = 0
        if sent.id.isdigit():
            self._last = int(sent.id)
        data = json.loads(sent.data)
        is_history = sent.event != "progress"
        return Event(id=self._last if is_history else None, type=sent.event, data=data)

    def ended(self, outcome: Outcome | None) -> float:
        """Seconds until it is opened again, unless it is `over`. `outcome`: none when it ended as streams do.

        Raises `Unreachable` and `Problem`.
        """
        if isinstance(outcome, Answer) and outcome.status == NOTHING_MORE:
            self.over = True
            return 0.0
        broken = outcome or NoAnswer("The stream of events ended again and again without an event.", True)
        pause = self._retries.pause(broken, self._attempt or 1, repeatable=True)
        if pause is not None:
            return 0.0 if outcome is None and self._attempt == 0 else pause
        if isinstance(broken, NoAnswer):
            raise Unreachable(broken.reason)
        raise _problem(broken)


def _problem(answer: Answer) -> Problem:
    try:
        members = json.loads(answer.body)
    except ValueError:
        members = {}
    return problem(answer.status, members if isinstance(members, Mapping) else {})
