"""Every error as problem details (RFC 9457): one media type, one shape, one stable `code`."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Mount
from starlette.types import Scope, Send

from app.core.errors import BadRequest, Conflict, InvalidInput, LetheError, TooLarge, Unavailable
from models.states import IllegalTransition

MEDIA_TYPE = "application/problem+json"
MAX_FIELD_ERRORS = 20
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class FieldProblem(BaseModel):
    """One thing wrong with one part of the request."""

    pointer: str | None = Field(None, description="JSON Pointer (RFC 6901) into the body")
    parameter: str | None = Field(None, description="Name of the query, path or header parameter")
    detail: str


class Problem(BaseModel):
    """Problem details (RFC 9457). Branch on `code`; show `detail` to a person."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "type": "urn:lethe:problem:unknown_task",
                "title": "The request cannot be carried out as it was sent",
                "status": 422,
                "detail": "The model has no task 'colour'; its tasks are digit, parity.",
                "code": "unknown_task",
                "instance": "/v1/deletion-requests",
                "request_id": "0b9f6a5e1d3c4f72",
            }
        },
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str | None = None
    request_id: str | None = None
    errors: list[FieldProblem] | None = None


def problem_body(error: LetheError, path: str, request_id: str | None) -> bytes:
    members = {
        "type": f"urn:lethe:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "instance": path,
        "request_id": request_id,
    }
    members.update(error.extra)
    return json.dumps(members).encode()


async def send_problem(error: LetheError, scope: Scope, request_id: str | None, send: Send) -> None:
    """From a layer that no framework's exception handlers lie around."""
    body = problem_body(error, scope["path"], request_id)
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **error.headers}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def problem_response(error: LetheError, request: Request) -> Response:
    body = problem_body(error, request.url.path, getattr(request.state, "request_id", None))
    return Response(body, error.status, error.headers, MEDIA_TYPE)


async def handle_error(request: Request, error: Exception) -> Response:
    """The one error handler. What it does not know is left to the outermost layer, which answers 500."""
    known = _as_lethe_error(error)
    if known is None:
        raise error
    if known.status == 405:
        known.headers["Allow"] = ", ".join(_methods(request)) or "GET, HEAD"  # the documentation's own files
    return problem_response(known, request)


def _methods(request: Request) -> list[str]:
    """All that the path takes (RFC 9110 section 15.5.6). The framework names those of one route only."""
    routes = [route for route in request.app.router.routes if not isinstance(route, Mount)]
    return [
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]


def _as_lethe_error(error: Exception) -> LetheError | None:
    match error:
        case LetheError():
            return error
        case RequestValidationError():
            return _invalid(error)
        case HTTPException():
            return _of_the_framework(error)
        case IllegalTransition():
            return Conflict(f"It {error}.", code="illegal_transition")
        case ClientDisconnect():
            return BadRequest("The client went away before the whole body had come.", code="body_incomplete")
    return None


def database_away(error: Exception) -> LetheError:
    return Unavailable(
        "The database cannot be reached at the moment. Try again: under the same Idempotency-Key nothing is "
        "done twice.",
        code="database_unavailable",
        headers={"Retry-After": "5"},
    )


def _invalid(error: RequestValidationError) -> LetheError:
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return BadRequest("The body is not valid JSON.", code="malformed_json")
    fields = _fields(found[: 4 * MAX_FIELD_ERRORS], error.body)
    first = fields[0]
    where = first.get("pointer") or first.get("parameter") or "body"
    return InvalidInput(f"{where}: {first['detail']}.", code="validation_error", errors=fields)


def _fields(found: Sequence[Mapping[str, Any]], body: Any) -> list[dict[str, str]]:
    """Where and what, but never the value that was sent. Where several forms would do, why none is there."""
    why: dict[tuple[str, str], list[str]] = {}
    for item in found:
        place, *rest = item["loc"] or ("body",)
        where = ("parameter", ".".join(map(str, rest)))
        if place == "body":
            where = ("pointer", _pointer(rest, body, item["type"] == "missing"))
        why.setdefault(where, []).append(str(item["msg"]).removeprefix("Value error, ").rstrip("."))
    return [
        {kind: where, "detail": "; or: ".join(dict.fromkeys(details))}
        for (kind, where), details in list(why.items())[:MAX_FIELD_ERRORS]
    ]


def _pointer(location: Sequence[Any], body: Any, ends_in_what_is_missing: bool) -> str:
    """Into the body as it was sent: without pydantic's names for the forms that a value may have."""
    pointer, here = "", body
    for part in location:
        if (isinstance(here, dict) and part in here) or (
            isinstance(here, list) and isinstance(part, int) and part < len(here)
        ):
            here = here[part]
        elif not (ends_in_what_is_missing and part is location[-1]):
            continue
        pointer += f"/{_escaped(part)}"
    return pointer


def _escaped(part: object) -> str:
    """RFC 6901 section 3."""
    return str(part).replace("~", "~0").replace("/", "~1")


class _FromTheFramework(LetheError):
    """A status that FastAPI or Starlette raised by itself."""

    def __init__(self, status: int, detail: str, code: str, headers: Mapping[str, str] | None) -> None:
        super().__init__(detail, code=code, headers=headers)
        self.status = status

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase


def _of_the_framework(error: HTTPException) -> LetheError:
    match error.status_code:
        case 400:
            return BadRequest("The body could not be read as JSON.", code="malformed_json")
        case 404:
            return _FromTheFramework(404, "There is nothing at this path.", "unknown_path", error.headers)
        case 405:
            detail = "This path does not take this method."
            return _FromTheFramework(405, detail, "method_not_allowed", error.headers)
        case 413:
            return TooLarge("The body is larger than this service accepts.", code="body_too_large")
    return _FromTheFramework(error.status_code, str(error.detail), "http_error", error.headers)
