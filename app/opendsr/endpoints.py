"""OpenDSR 2.0 over HTTP, below /opendsr/v2, and once more below /opendsr/v2/stub for trying it out.

The resource has had several names (specification, section 10.1): all are answered, one is documented.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from app.auth.caller import RequestsRead, RequestsWrite
from app.core.errors import NotFound
from app.core.openapi import errors, problems
from app.core.session import Session
from app.opendsr import answers, service
from app.opendsr.identities import FORMATS, TYPES
from app.opendsr.reading import MOST_IDENTITIES, SentRequest
from app.opendsr.refusals import refusals
from app.opendsr.service import Door
from app.opendsr.signing import BodySigner

API_VERSION = "2.0"
BASES = ("/opendsr/v2", "/opendsr/v2/stub")
RESOURCE = "opendsr_requests"
FORMER_NAMES = ("requests", "opengdpr_requests", "status")
_PEM = "application/x-pem-file"

router = APIRouter(tags=["OpenDSR"])


def _body() -> dict[str, Any]:
    """As it is read; the dictionary of one vendor is turned into the list before it is validated."""
    schema = SentRequest.model_json_schema()
    one = schema.pop("$defs")["SentIdentity"]
    entry = {
        "type": "object",
        "properties": {
            "value": one["properties"]["identity_value"],
            "encoding": one["properties"]["identity_format"],
        },
        "required": ["value"],
    }
    schema["properties"]["subject_identities"] = {
        "anyOf": [
            {"type": "array", "items": one, "maxItems": MOST_IDENTITIES},
            {
                "type": "object",
                "properties": dict.fromkeys(TYPES, entry),
                "additionalProperties": False,
            },
        ]
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def discover(request: Request) -> Response:
    """What this processor does: erasure, and which identities it takes. For everybody."""
    signer = _signer(request)
    base = str(request.app.state.settings.public_url).rstrip("/")
    return _signed(
        signer,
        200,
        {
            "api_version": API_VERSION,
            "supported_identities": [
                {"identity_type": type, "identity_format": format} for type in TYPES for format in FORMATS
            ],
            "supported_subject_request_types": ["erasure"],
            "processor_certificate": f"{base}/opendsr/v2/certificate.pem",
        },
    )


async def get_opendsr_certificate(request: Request) -> Response:
    """The certificate whose key signs answers and callbacks. For everybody."""
    return Response(_signer(request).certificate, 200, media_type=_PEM)


async def create_opendsr_request(request: Request, caller: RequestsWrite, session: Session) -> Response:
    """Erase what was learned from a person. The same body again is the same request."""
    signer, body = _signer(request), await request.body()
    with refusals():
        row = await service.create(session, caller, _door(request), body)
    return _signed(signer, 201, answers.created(row, body))


async def get_opendsr_request(
    request: Request, caller: RequestsRead, session: Session, subject_request_id: str
) -> Response:
    """pending, in_progress, completed or cancelled."""
    signer = _signer(request)
    with refusals():
        row = await service.row_of(session, caller, _door(request), subject_request_id)
    return _signed(signer, 200, answers.told(row))


async def cancel_opendsr_request(
    request: Request, caller: RequestsWrite, session: Session, subject_request_id: str
) -> Response:
    """Withdraw a request that is pending."""
    signer = _signer(request)
    with refusals():
        row = await service.cancel(session, caller, _door(request), subject_request_id)
    return _signed(signer, 202, answers.cancelled(row, datetime.now(UTC)))


async def advance_opendsr_stub(
    request: Request, caller: RequestsWrite, session: Session, subject_request_id: str
) -> Response:
    """Move a stub on, from pending to in_progress to completed, so that it calls back."""
    signer = _signer(request)
    with refusals():
        row = await service.advance(session, caller, _door(request), subject_request_id)
    return _signed(signer, 200, answers.told(row))


def _door(request: Request) -> Door:
    state = request.app.state
    return Door(state.settings, state.opendsr_resolver, request.url.path.startswith(f"{BASES[1]}/"))


def _signer(request: Request) -> BodySigner:
    """Raises `NotFound`."""
    signer: BodySigner | None = request.app.state.opendsr_signer
    if signer is None:
        raise NotFound(
            "This service has no OpenDSR certificate: its operator has to set LETHE_OPENDSR_KEY_FILE and "
            "LETHE_OPENDSR_CERTIFICATE_FILE.",
            code="opendsr_not_configured",
        )
    return signer


def _signed(signer: BodySigner, status: int, answer: dict[str, Any]) -> Response:
    body = json.dumps(answer).encode()
    headers = {"Cache-Control": "no-store", **signer.headers(body)}
    return Response(body, status, headers, "application/json")


def _add(
    path: str, call: Callable[..., Any], method: str, status: int, documented: bool, **more: Any
) -> None:
    """`name`: the operation's id, which must be one of its own."""
    is_stub = path.startswith(f"{BASES[1]}/") and call is not advance_opendsr_stub
    name = f"stub_{call.__name__}" if is_stub else call.__name__
    router.add_api_route(
        path, call, methods=[method], status_code=status, name=name, include_in_schema=documented, **more
    )


_CERTIFICATE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The certificate", "content": {_PEM: {}}}
}
router.add_api_route(
    f"{BASES[0]}/certificate.pem",
    get_opendsr_certificate,
    methods=["GET"],
    response_class=Response,
    responses=_CERTIFICATE | problems(404, 422, 500),
)
for _base in BASES:
    _add(
        f"{_base}/discovery",
        discover,
        "GET",
        200,
        True,
        responses=problems(404, 422, 500),
        response_model=answers.Discovery,
    )
    for _resource in (RESOURCE, *FORMER_NAMES):
        _first = _resource == RESOURCE
        _one = f"{_base}/{_resource}/{{subject_request_id}}"
        _add(
            _one, get_opendsr_request, "GET", 200, _first, responses=errors(404), response_model=answers.Told
        )
        if _resource != "status":
            _add(
                f"{_base}/{_resource}",
                create_opendsr_request,
                "POST",
                201,
                _first,
                responses=errors(400, 404, 413),
                openapi_extra=_body(),
                response_model=answers.Created,
            )
            _add(
                _one,
                cancel_opendsr_request,
                "DELETE",
                202,
                _first,
                responses=errors(400, 404),
                response_model=answers.Cancelled,
            )
_add(
    f"{BASES[1]}/{RESOURCE}/{{subject_request_id}}/advance",
    advance_opendsr_stub,
    "POST",
    200,
    True,
    responses=errors(400, 404),
    response_model=answers.Told,
)
