"""What the OpenAPI document says beyond the signatures: problem details, and operation ids for generators."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from app.core.problems import MEDIA_TYPE, Problem

ALWAYS = (401, 403, 422, 500, 503)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a call: those given, and those that any call with a key may have."""
    return problems(*statuses, *ALWAYS)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    reference = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": reference}},
        }
        for status in sorted(set(statuses))
    }


def header_parameters(schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """For `openapi_extra`: headers that are read from the request itself, and not by a parameter."""
    return {
        "parameters": [
            {"name": name, "in": "header", "required": False, "schema": schema}
            for name, schema in schemas.items()
        ]
    }


def operation_id(route: APIRoute) -> str:
    return route.name


def describe(app: FastAPI) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs", {}))
        schemas["Problem"] = problem
        # The framework's own shape of validation errors is never sent.
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for item in document["paths"].values():
            for operation in item.values():
                if "422" in operation["responses"]:
                    operation["responses"]["422"] = problems(422)[422]
        app.openapi_schema = document
    return app.openapi_schema
