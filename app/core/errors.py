"""Errors that a client sees. Each carries its HTTP status, a stable code, and a sentence to act on.

    LetheError
    ├── InvalidInput        422  what was sent cannot be done; the sentence says what to send instead
    ├── Unauthenticated     401
    ├── Forbidden           403
    ├── NotFound            404  also for what belongs to another tenant
    ├── Conflict            409  the state of the thing does not allow it
    ├── Gone                410
    ├── PreconditionFailed  412
    ├── TooLarge            413
    ├── RangeUnsatisfiable  416
    ├── TooManyRequests     429  the caller's budget is used up; the headers say until when
    └── Unavailable         503  a part that this call needs is away; try again

The class's docstring is its title. `app.core.problems` renders them as RFC 9457 problem details.
"""

from collections.abc import Mapping
from typing import Any


class LetheError(Exception):
    """Something went wrong."""

    status = 500
    code = "internal_error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.headers = dict(headers or {})
        self.extra = extra  # further members of the problem object

    @property
    def title(self) -> str:
        return (type(self).__doc__ or "").strip().rstrip(".")


class InvalidInput(LetheError):
    """The request cannot be carried out as it was sent."""

    status = 422
    code = "invalid_input"


class BadRequest(LetheError):
    """The request could not be read."""

    status = 400
    code = "bad_request"


class Unauthenticated(LetheError):
    """The API key is missing or not valid."""

    status = 401
    code = "unauthenticated"


class Forbidden(LetheError):
    """The API key does not allow this."""

    status = 403
    code = "forbidden"


class NotFound(LetheError):
    """There is no such thing."""

    status = 404
    code = "not_found"


class Conflict(LetheError):
    """The present state does not allow this."""

    status = 409
    code = "conflict"


class Gone(LetheError):
    """This is no longer served."""

    status = 410
    code = "gone"


class PreconditionFailed(LetheError):
    """It has changed since."""

    status = 412
    code = "precondition_failed"


class TooLarge(LetheError):
    """More was sent than is accepted."""

    status = 413
    code = "too_large"


class RangeUnsatisfiable(LetheError):
    """The range lies outside the content."""

    status = 416
    code = "range_unsatisfiable"


class TooManyRequests(LetheError):
    """More calls came than are served."""

    status = 429
    code = "too_many_requests"


class Unavailable(LetheError):
    """A part of the service is away for the moment."""

    status = 503
    code = "unavailable"
