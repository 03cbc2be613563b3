"""Refusals as the specification wants them (sections 7.5 and 7.6): status 400 and an object `error`, inside
the problem details that every other call answers with."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from app.core.errors import BadRequest, Conflict, InvalidInput, LetheError, NotFound, TooLarge

# Words of ours that may hold what a client sent about a person.
_WITHOUT_DETAIL = {
    "unknown_instance": "The identities stand for instances that the data set does not hold.",
    "duplicate_instances": "An instance was named twice.",
    "would_erase_task": "This would take all supervision that a task has left.",
}


class Refused(BadRequest):
    """The request cannot be carried out as it was sent."""


@contextmanager
def refusals() -> Iterator[None]:
    """What is the client's to mend becomes a `Refused`; what is not there stays a 404."""
    try:
        yield
    except ValidationError as error:
        raise _refused(_invalid(error), "validation_error", 400) from None
    except NotFound as error:
        raise NotFound(error.detail, code=error.code, error=_object(404, error.code, error.detail)) from None
    except (BadRequest, Conflict, InvalidInput, TooLarge) as error:
        raise _refused(_told(error), error.code, 400) from None


def _refused(detail: str, code: str, status: int) -> Refused:
    return Refused(detail, code=code, error=_object(status, code, detail))


def _object(status: int, code: str, detail: str) -> dict[str, object]:
    reason = {"domain": "Validation", "reason": code, "message": detail}
    return {"code": status, "message": detail, "errors": [reason]}


def _told(error: LetheError) -> str:
    return _WITHOUT_DETAIL.get(error.code, error.detail)


def _invalid(error: ValidationError) -> str:
    """Where and what, but never the value that was sent, nor a name that was made of it."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part)[:64] for part in first["loc"][:1]) or "body"
    return f"{where}: {str(first['msg']).removeprefix('Value error, ').rstrip('.')}."
