"""Checkpoints over HTTP: version 1 comes in, every published version goes out."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from starlette.responses import Response

from app.auth.caller import ModelsReadStreaming, ModelsWriteStreaming
from app.core.digests import expected_sha256
from app.core.openapi import errors, header_parameters
from app.core.sight import SeeingSessions
from app.registered_models import repository, service
from app.registered_models.download import check_may_download, checkpoint_response
from app.registered_models.schemas import VersionView
from app.registered_models.upload import receive

router = APIRouter(prefix="/v1/models/{model}/versions", tags=["Models"])

_BINARY: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


@router.put(
    "/1/checkpoint",
    status_code=202,
    responses=errors(400, 404, 409, 410, 413, 422),
    openapi_extra={"requestBody": {"required": True, "content": _BINARY}},
)
async def upload_checkpoint(
    request: Request,
    caller: ModelsWriteStreaming,
    model: str,
    response: Response,
    repr_digest: Annotated[str | None, Header(description="sha-256=:base64: (RFC 9530)")] = None,
) -> VersionView:
    """Send the weights of version 1 as safetensors. A job validates them."""
    state = request.app.state
    sessions = SeeingSessions(state.sessions, caller.sight)
    announced = request.headers.get("content-length")
    await receive(
        sessions,
        state.storage,
        state.upload_threads,
        caller,
        model,
        request.stream(),
        announced_size=int(announced) if announced else None,
        announced_sha256=expected_sha256(repr_digest),
        max_bytes=state.settings.max_checkpoint_bytes,
    )
    response.headers["Location"] = f"/v1/models/{model}"
    async with sessions() as session:
        return service.version_view(await service.version(session, caller, model, "1"))


_DOWNLOADS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The checkpoint (safetensors)", "content": _BINARY},
    206: {"description": "The part that Range asked for", "content": _BINARY},
    304: {"description": "The checkpoint is the one that If-None-Match names"},
    307: {"description": "The checkpoint lies at the URL in Location, for a while"},
}


_TEXT = {"type": "string"}
_CONDITIONS = header_parameters({"If-None-Match": _TEXT})
_PARTS = header_parameters({"Range": _TEXT, "If-Range": _TEXT, "If-None-Match": _TEXT})


@router.get(
    "/{version}/checkpoint",
    responses=_DOWNLOADS | errors(404, 409, 410, 416),
    response_class=Response,
    openapi_extra=_PARTS,
)
async def download_checkpoint(
    request: Request, caller: ModelsReadStreaming, model: str, version: str
) -> Response:
    """The weights of a version, by number or alias. Superseded ones, which still remember, need `admin`."""
    return await _checkpoint(request, caller, model, version)


@router.head(
    "/{version}/checkpoint",
    responses=_DOWNLOADS | errors(404, 409, 410),
    response_class=Response,
    openapi_extra=_CONDITIONS,
)
async def describe_checkpoint(
    request: Request, caller: ModelsReadStreaming, model: str, version: str
) -> Response:
    """Size and digest of a version's weights."""
    return await _checkpoint(request, caller, model, version)


async def _checkpoint(request: Request, caller: ModelsReadStreaming, model: str, version: str) -> Response:
    state = request.app.state
    async with SeeingSessions(state.sessions, caller.sight)() as session:
        row = await service.version(session, caller, model, version)
        model_row = await repository.lock_or_read(session, caller.tenant_id, model, lock=False)
        name = model_row.name if model_row else "model"
    check_may_download(caller, row)
    return await checkpoint_response(request, state.storage, state.threads, name, row)
