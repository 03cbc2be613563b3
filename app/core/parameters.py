"""Query parameters: those of every list, and the refusal of any that a call does not have, because
`?dryrun=true` must not delete for real."""

import uuid
from typing import Annotated

from fastapi import Query, Request

from app.core.errors import InvalidInput

After = Annotated[uuid.UUID | None, Query(description="Continue after the item with this id")]
Limit = Annotated[int, Query(ge=1, le=100, description="How many items at most")]


async def refuse_unknown_parameters(request: Request) -> None:
    """What a call takes is what the OpenAPI document says. Raises `InvalidInput`, code unknown_parameter."""
    if not request.scope["query_string"]:
        return
    path = getattr(request.scope.get("route"), "path", None)
    call = request.app.openapi()["paths"].get(path, {}).get(request.method.lower())
    if call is None:  # the documentation's own page
        return
    known = {given["name"] for given in call.get("parameters", ()) if given["in"] == "query"}
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        takes = ", ".join(sorted(known)) or "none"
        raise InvalidInput(
            f"This call has no query parameter {unknown[0][:64]!r}; it takes {takes}.",
            code="unknown_parameter",
        )
