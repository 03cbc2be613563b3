"""What the OpenAPI document says beyond the signatures: problem details, and operation ids for generators."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from app.core.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    InvalidInput,
    LetheError,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from app.core.links import add_links
from app.core.problems import MEDIA_TYPE, Problem, problem_body

ALWAYS = (401, 403, 422, 500, 503)
_TYPICAL = (
    BadRequest("The body is not valid JSON.", code="malformed_json"),
    Unauthenticated("There is no such API key.", code="api_key_invalid"),
    Forbidden(
        "This call needs an API key with the scope admin; this key has requests:read.", code="scope_missing"
    ),
    NotFound("There is no such deletion request.", code="deletion_request_not_found"),
    Conflict("The request has succeeded already.", code="request_finished"),
    Gone("The model was destroyed before, with all that descends from it.", code="model_destroyed"),
    TooLarge(
        "200000 instances were named; 100000 are accepted at once.", code="too_many_instances", limit=100_000
    ),
    InvalidInput("The model has no task 'colour'; known tasks are digit, parity.", code="unknown_task"),
    LetheError("Something went wrong on our side; quote the request_id when you report it."),
    Unavailable("The database does not answer.", code="database_unavailable"),
)
_EXAMPLES = {
    error.status: json.loads(problem_body(error, "/v1/deletion-requests", "0b9f6a5e1d3c4f72"))
    for error in _TYPICAL
}
# Machines of the operator ask these, and whoever checks a certificate: no budget is charged.
UNLIMITED = ("/healthz", "/readyz", "/metrics", "/.well-known/lethe-signing-keys.json")
LIMIT_HEADERS: dict[str, Any] = {
    "RateLimit-Policy": {
        "description": "The budget that the call is charged to: its quota `q` of calls in `w` seconds. Left "
        "out where the operator bounds nothing (draft-ietf-httpapi-ratelimit-headers)",
        "schema": {"type": "string"},
        "example": '"reads";q=6000;w=60',
    },
    "RateLimit": {
        "description": "How many calls remain (`r`), and in how many seconds the budget is whole again (`t`)",
        "schema": {"type": "string"},
        "example": '"reads";r=5990;t=42',
    },
    "Retry-After": {"description": "In how many seconds to go on", "schema": {"type": "integer"}},
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a call: those given, and those that any call with a key may have."""
    return problems(*statuses, *ALWAYS)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    reference = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": reference} | _example(status)},
        }
        for status in sorted(set(statuses))
    }


def _example(status: int) -> dict[str, Any]:
    return {"example": _EXAMPLES[status]} if status in _EXAMPLES else {}


def header_parameters(schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """For `openapi_extra`: headers that are read from the request itself, and not by a parameter."""
    return {
        "parameters": [
            {"name": name, "in": "header", "required": False, "schema": schema}
            for name, schema in schemas.items()
        ]
    }


def _declare_limits(operation: dict[str, Any]) -> None:
    operation["responses"]["429"] = problems(429)[429]
    for status, answer in operation["responses"].items():
        names = ["RateLimit-Policy", "RateLimit"] + (["Retry-After"] if status == "429" else [])
        answer["headers"] = answer.get("headers", {}) | {
            name: {"$ref": f"#/components/headers/{name}"} for name in names
        }


def operation_id(route: APIRoute) -> str:
    return route.name


def describe(routes: Sequence[BaseRoute], *, title: str, version: str, description: str) -> dict[str, Any]:
    """The document."""
    document = get_openapi(title=title, version=version, description=description, routes=routes)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    # The framework's own shape of validation errors is never sent.
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    document["components"]["headers"] = LIMIT_HEADERS
    for path, item in document["paths"].items():
        for operation in item.values():
            for status, answer in operation["responses"].items():
                if answer["description"] == "Successful Response":
                    answer["description"] = HTTPStatus(int(status)).phrase
            if "422" in operation["responses"]:
                operation["responses"]["422"] = problems(422)[422]
            if path not in UNLIMITED:
                _declare_limits(operation)
    add_links(document)
    return document
