"""Finding a request's certificates, or saying why there are none."""

import json
import uuid
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.canonical import canonical
from app.core.errors import Conflict
from app.core.rows import AnyRow
from app.deletion_requests import service as deletion_requests
from models.states import RunStatus

Kind = Literal["unlearning", "disposal"]
_SOON = {"Retry-After": "2"}

# The certificate is that of the present result: a request that was reopened has none until it is done again.
_ISSUED = text("""
SELECT r.id, c.envelope FROM deletion_requests r
LEFT JOIN certificates c
  ON c.deletion_request_id = r.id AND c.version_id = r.result_version_id AND c.kind = :kind
WHERE r.tenant_id = :tenant_id AND r.id = ANY(CAST(:ids AS uuid[])) AND r.status = 'succeeded'
ORDER BY r.id
""")

# Of a request on a data set the newest statement of its parts, unless one of them was opened again since.
_BUNDLE = text("""
SELECT r.status, c.envelope FROM deletion_requests r
LEFT JOIN certificates c ON c.deletion_request_id = r.id AND (
  c.version_id = r.result_version_id
  OR r.bundled_at IS NOT NULL AND c.id = (
    SELECT newest.id FROM certificates newest
    WHERE newest.deletion_request_id = r.id AND newest.kind = 'parts' ORDER BY newest.id DESC LIMIT 1
  )
)
WHERE r.tenant_id = :tenant_id AND r.id = ANY(CAST(:ids AS uuid[]))
  AND (r.status = 'succeeded' OR r.registered_model_id IS NULL)
ORDER BY r.registered_model_id IS NOT NULL, r.id, c.id
""")


@dataclass(frozen=True)
class Issued:
    """`content` is what is handed out, byte for byte; `envelopes` are the certificates in it."""

    content: bytes
    envelopes: list[str]


async def find(session: AsyncSession, caller: Caller, request_id: uuid.UUID, kind: Kind) -> Issued:
    """Raises `NotFound`, and `Conflict`: request_not_finished, request_not_carried_out,
    certificate_not_ready, versions_not_disposed."""
    request = await deletion_requests.row_of(session, caller, request_id)
    _refuse_unless_done(request)
    ids = request.children if request.registered_model_id is None else [request.id]
    bound = {"tenant_id": caller.tenant_id, "ids": ids or [], "kind": kind}
    rows = (await session.execute(_ISSUED, bound)).all()
    if not rows:
        raise _not_carried_out(request)
    if any(row.envelope is None for row in rows):
        raise _not_yet(kind)
    envelopes = [row.envelope for row in rows]
    if request.registered_model_id is not None:
        return Issued(envelopes[0].encode(), envelopes)
    bundle = {"certificates": [json.loads(each) for each in envelopes], "request": str(request.id)}
    return Issued(canonical(bundle), envelopes)


async def bundle(session: AsyncSession, caller: Caller, request_id: uuid.UUID) -> bytes:
    """All that was signed about a request and its parts: an in-toto bundle, one envelope per line. Of a
    request on a data set the first line names the parts.

    Raises as `find` does."""
    request = await deletion_requests.row_of(session, caller, request_id)
    _refuse_unless_done(request)
    ids = [request.id, *(request.children or [])]
    rows = (await session.execute(_BUNDLE, {"tenant_id": caller.tenant_id, "ids": ids})).all()
    if not any(row.status == RunStatus.SUCCEEDED for row in rows):
        raise _not_carried_out(request)
    if any(row.envelope is None for row in rows):
        raise _not_yet("unlearning")
    return b"".join(row.envelope.encode() + b"\n" for row in rows)


def _refuse_unless_done(request: AnyRow) -> None:
    if request.status == RunStatus.NEEDS_REVIEW:
        raise Conflict(
            "A candidate waits for a person to decide on it; the certificate follows once it is published.",
            code="request_not_finished",
            status_now=request.status,
        )
    if request.status == RunStatus.AWAITING_APPROVAL:
        raise Conflict(
            "The request waits for a person to approve of it; the certificate follows once it has succeeded.",
            code="request_not_finished",
            status_now=request.status,
        )
    if not deletion_requests.is_finished(request):
        raise Conflict(
            f"The request is {request.status}; its certificate follows once it has succeeded.",
            code="request_not_finished",
            headers=_SOON,
            status_now=request.status,
        )


def _not_carried_out(request: AnyRow) -> Conflict:
    return Conflict(
        f"The request has {request.status}: nothing was forgotten by it, so there is nothing to certify.",
        code="request_not_carried_out",
    )


def _not_yet(kind: Kind) -> Conflict:
    if kind == "disposal":
        return Conflict(
            "Versions that remember what was deleted are still there, so their disposal cannot be certified. "
            "They are withdrawn and deleted by the clock of the model's policy (PUT …/retention), unless an "
            "alias points at them or a legal hold keeps them; the statement follows.",
            code="versions_not_disposed",
        )
    return Conflict(
        "The certificate is being signed; ask again in a few seconds. If that does not help, the operator "
        "finds the reason in the relay's log: it needs LETHE_SIGNING_KEY.",
        code="certificate_not_ready",
        headers=_SOON,
    )
