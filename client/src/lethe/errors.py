"""What can go wrong, as a tree.

    LetheError
    ├── NotConfigured        no address, no key, or a profile that cannot be read
    ├── Unreachable          no answer came, however often it was asked
    ├── UnexpectedAnswer     what answered is not a Lethe service, or one of another version
    ├── DigestMismatch       bytes arrived that are not those that were promised; nothing was kept of them
    ├── UnreadableInstances  a file of ids that cannot be read, or holds none
    ├── StillRunning         `wait` was told how long, and that is over; the request goes on
    └── Problem              the service said no, with a code, a title, a status and a sentence
        ├── BadRequest           400
        ├── Unauthenticated      401
        ├── Forbidden            403
        ├── NotFound             404
        ├── Conflict             409
        ├── Gone                 410
        ├── PreconditionFailed   412
        ├── TooLarge             413
        ├── RangeUnsatisfiable   416
        ├── InvalidInput         422
        ├── RateLimited          429
        └── ServerError          5xx
            └── Unavailable      503

Problems are those of RFC 9457. Branch on `code`; show `detail` to a person.
"""

from collections.abc import Mapping
from typing import Any


class LetheError(Exception):
    """Something went wrong; the message is a sentence to act on."""


class NotConfigured(LetheError):
    """It is not known which service to speak to, or with which key."""


class Unreachable(LetheError):
    """The service could not be reached."""


class UnexpectedAnswer(LetheError):
    """This is not how a Lethe service of this client's version answers."""


class DigestMismatch(LetheError):
    """What arrived is not what was promised. Nothing was kept of it."""


class UnreadableInstances(LetheError):
    """The file holds no ids, or it is not clear which of it are the ids."""


class StillRunning(LetheError):
    """The time to wait is over, and the request is not."""


class Problem(LetheError):
    """The service refused. `members` has everything that the problem says, `errors` per field included."""

    def __init__(self, status: int, members: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(members.get("code", "http_error"))
        self.title = str(members.get("title", ""))
        self.detail = str(members.get("detail", ""))
        self.request_id = members.get("request_id")
        self.members = dict(members)
        super().__init__(self.detail or self.title or f"The service answered {status}.")

    @property
    def errors(self) -> list[dict[str, str]]:
        """What is wrong with which part of what was sent; empty when the problem does not say."""
        return list(self.members.get("errors") or ())


class BadRequest(Problem):
    """400"""


class Unauthenticated(Problem):
    """401: the key is missing, wrong, revoked or expired."""


class Forbidden(Problem):
    """403: the key lacks a scope."""


class NotFound(Problem):
    """404: also for what belongs to another tenant."""


class Conflict(Problem):
    """409: the present state does not allow it."""


class Gone(Problem):
    """410: withdrawn."""


class PreconditionFailed(Problem):
    """412"""


class TooLarge(Problem):
    """413"""


class RangeUnsatisfiable(Problem):
    """416"""


class InvalidInput(Problem):
    """422: what was sent cannot be done; the detail says what to send instead."""


class RateLimited(Problem):
    """429: too much was asked for, and the retries did not last until it was allowed."""


class ServerError(Problem):
    """5xx"""


class Unavailable(ServerError):
    """503: a part that the call needs is away."""


_BY_STATUS: dict[int, type[Problem]] = {
    400: BadRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    412: PreconditionFailed,
    413: TooLarge,
    416: RangeUnsatisfiable,
    422: InvalidInput,
    429: RateLimited,
    503: Unavailable,
}


def problem(status: int, members: Mapping[str, Any]) -> Problem:
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else Problem)
    return kind(status, members)
