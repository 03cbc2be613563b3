"""Handing a checkpoint out: who may have it, which part of it, and its bytes in constant memory."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from obstore.exceptions import BaseError as StorageError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from app.auth.caller import Caller
from app.auth.keys import Scope
from app.core.digests import repr_digest
from app.core.errors import Conflict, Gone, NotFound, Unavailable
from app.core.logging import get_logger
from app.core.ranges import none_match_says_unchanged, requested_part
from app.core.rows import AnyRow
from app.core.storage import Damaged, NotStored, Storage
from app.core.wire import rfc3339
from models.states import ArtifactState, ModelStatus, VersionState

URL_LIFETIME = timedelta(minutes=15)


def check_may_download(caller: Caller, version: AnyRow) -> None:
    """Raises `Gone`, `NotFound`, `Conflict` or `Forbidden`."""
    state = version.state
    _refuse_what_is_gone(version)
    if state == VersionState.REJECTED:
        raise NotFound("This version was rejected, and is not served.", code="version_rejected")
    if state == VersionState.PENDING or version.artifact_state != ArtifactState.STORED:
        raise Conflict(
            "This version is still being validated.", code="version_pending", headers={"Retry-After": "5"}
        )
    if state == VersionState.SUPERSEDED:
        # It still remembers what later versions forgot.
        caller.require(Scope.ADMIN)


def _refuse_what_is_gone(version: AnyRow) -> None:
    since = rfc3339(version.state_since)
    if version.model_status == ModelStatus.DESTROYED:
        raise Gone("The model was destroyed, with all its versions.", code="model_destroyed")
    if version.state == VersionState.QUARANTINED:
        raise Gone(
            "This version still remembered what was deleted since, and has been withdrawn by its model's "
            "policy.",
            code="version_quarantined",
            since=since,
        )
    if version.state == VersionState.DELETED or version.artifact_state == ArtifactState.DELETED:
        raise Gone(
            "This version still remembered what was deleted since. Its bytes are deleted; its digest and its "
            "report are kept.",
            code="version_deleted",
            since=since,
        )


async def checkpoint_response(
    request: Request, storage: Storage, threads: ThreadPoolExecutor, model_name: str, version: AnyRow
) -> Response:
    """Raises `RangeUnsatisfiable`, and `Unavailable` (checkpoint_unreadable) while it still can."""
    digest = bytes.fromhex(version.digest.removeprefix("sha256:"))
    size: int = version.size
    etag = f'"{version.digest}"'
    headers = {
        "ETag": etag,
        "Repr-Digest": repr_digest(digest),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Vary": "Authorization",
    }
    if none_match_says_unchanged(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    headers["Content-Disposition"] = f'attachment; filename="{model_name}-v{version.number}.safetensors"'
    if request.method == "HEAD":
        headers["Content-Length"] = str(size)
        return Response(headers=headers, media_type="application/octet-stream")
    loop = asyncio.get_running_loop()
    url = None
    if version.key_store is None:  # what is encrypted has to pass through here
        url = await loop.run_in_executor(threads, storage.presigned_url, version.path, URL_LIFETIME)
    if url is not None:
        return RedirectResponse(url, 307, headers={"ETag": etag, "Cache-Control": "no-store"})
    part = requested_part(request.headers.get("range"), request.headers.get("if-range"), etag, size)
    start, end, status = 0, size, 200
    if part is not None:
        start, end, status = part.start, part.end, 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    chunks = storage.read(version.path, start, end)
    try:
        first = await loop.run_in_executor(threads, next, chunks, b"")
    except (NotStored, Damaged, StorageError, OSError) as error:
        get_logger(__name__).error(
            "checkpoint_unreadable", version=str(version.id), error=type(error).__name__
        )
        raise Unavailable(
            "The checkpoint cannot be read from the storage at the moment. Try again later.",
            code="checkpoint_unreadable",
            headers={"Retry-After": "30"},
        ) from error
    content = _in_threads(threads, first, chunks)
    return StreamingResponse(content, status, headers, "application/octet-stream")


async def _in_threads(
    threads: ThreadPoolExecutor, first: bytes, chunks: Iterator[bytes]
) -> AsyncIterator[bytes]:
    """One chunk is read ahead while the one before it is being sent."""
    loop = asyncio.get_running_loop()
    coming = loop.run_in_executor(threads, next, chunks, b"")
    try:
        yield first
        while chunk := await coming:
            coming = loop.run_in_executor(threads, next, chunks, b"")
            yield chunk
    finally:
        await asyncio.wait([coming])
        coming.exception()  # when the client went away, nobody else asks for it
