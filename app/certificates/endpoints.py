"""Certificates over HTTP: signed JSON for machines, a page for people."""

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from app.auth.caller import RequestsRead
from app.certificates import service
from app.certificates.page import render
from app.certificates.schemas import CertificateBundle
from app.certificates.service import Kind
from app.core.envelope import SignedEnvelope
from app.core.openapi import errors
from app.core.session import Session

router = APIRouter(prefix="/v1/deletion-requests", tags=["Certificates"])

HTML = "text/html"
# The page is text and drawings: it loads nothing and runs nothing, wherever it is opened.
_HARMLESS = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": SignedEnvelope | CertificateBundle,
        "description": "A DSSE envelope; a bundle of them for a request on a data set; or the page",
        "content": {HTML: {}},
    }
}

# As the in-toto attestation framework has it (spec/v1/bundle.md): JSON Lines of envelopes.
BUNDLE = "application/vnd.in-toto.bundle"
_BUNDLE_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"description": "A DSSE envelope per line", "content": {BUNDLE: {"schema": {"type": "string"}}}}
}


@router.get(
    "/{request_id}/certificates",
    response_class=Response,
    responses=_BUNDLE_ANSWER | errors(404, 409, 422),
)
async def get_certificates(caller: RequestsRead, session: Session, request_id: uuid.UUID) -> Response:
    """All that was signed about a request, as one file: an in-toto bundle. Of a request on a data set its
    first line names the parts, one per model, and each other line is a certificate of one. `lethe verify`
    notices every changed byte, and every part that is missing."""
    content = await service.bundle(session, caller, request_id)
    headers = {"Cache-Control": "private, no-cache"}
    headers["Content-Disposition"] = f'attachment; filename="deletion-{request_id}.intoto.jsonl"'
    return Response(content, headers=headers, media_type=BUNDLE)


@router.get(
    "/{request_id}/certificate",
    response_model=SignedEnvelope | CertificateBundle,
    responses=_ANSWERS | errors(404, 409, 422),
)
async def get_certificate(
    caller: RequestsRead,
    session: Session,
    request_id: uuid.UUID,
    statement: Annotated[
        Kind, Query(description="unlearning: what was done; disposal: that the old versions are gone")
    ] = "unlearning",
    format: Annotated[
        Literal["json", "html"] | None, Query(description="In place of the Accept header")
    ] = None,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """The signed certificate of a request: an in-toto Statement v1 in a DSSE envelope. Keep the JSON as it
    comes: `lethe verify` notices every changed byte. With `Accept: text/html` the same, to read and print.
    """
    issued = await service.find(session, caller, request_id, statement)
    headers = {"Cache-Control": "private, no-cache", "Vary": "Accept"}
    if format == "html" or (format is None and HTML in (accept or "")):
        headers["Content-Security-Policy"] = _HARMLESS
        return Response(render(issued.envelopes), headers=headers, media_type=HTML)
    headers["Content-Disposition"] = f'inline; filename="certificate-{request_id}.json"'
    return Response(issued.content, headers=headers, media_type="application/json")
