"""Taking in version 1's checkpoint: constant memory, and nothing kept of an upload that went wrong.

Three separate transactions, so that no connection is held while bytes move: the artifact's row, then the
bytes, then either the version and its validation job, or the mark that the artifact is void.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from obstore.exceptions import BaseError as StorageError
from sqlalchemy import insert, text, update

from app.auth.caller import Caller
from app.core import failpoints
from app.core.audit import audit_entry, event
from app.core.channel import Channel
from app.core.errors import BadRequest, Conflict, Gone, InvalidInput, TooLarge, Unavailable
from app.core.logging import get_logger
from app.core.rows import AnyRow
from app.core.sight import SeeingSessions
from app.core.storage import PIECE, Storage, Written
from app.jobs.opening import queue_validation
from app.registered_models import repository
from app.registered_models.service import model_not_found
from models import Artifact, ModelVersion, RegisteredModel, time_ordered_id
from models.states import ArtifactState, ModelStatus

STALL_SECONDS = 60.0
_MAY_RECEIVE = (ModelStatus.AWAITING_CHECKPOINT, ModelStatus.REJECTED)

_EXPECT = text(
    "UPDATE model_versions SET state = 'pending', artifact_id = :artifact_id"
    " WHERE tenant_id = :tenant_id AND registered_model_id = :model_id AND number = 1 RETURNING id"
)


async def receive(
    sessions: SeeingSessions,
    storage: Storage,
    threads: ThreadPoolExecutor,
    caller: Caller,
    model: str,
    body: AsyncIterator[bytes],
    *,
    announced_size: int | None,
    announced_sha256: bytes | None,
    max_bytes: int,
) -> uuid.UUID:
    """The model's id. Raises `NotFound`, `Conflict`, `TooLarge`, `InvalidInput` (digest_mismatch),
    `BadRequest` (content_length_mismatch) and `Unavailable` (storage_unavailable)."""
    if announced_size is not None and announced_size > max_bytes:
        raise _too_large(max_bytes)
    artifact_id = time_ordered_id()
    path = f"{caller.tenant_id}/checkpoint/{artifact_id}"
    async with sessions.begin() as session:
        _check(await repository.lock_or_read(session, caller.tenant_id, model, lock=False))
        await session.execute(
            insert(Artifact).values(id=artifact_id, tenant_id=caller.tenant_id, kind="checkpoint", path=path)
        )
    try:
        written = await _store(storage, threads, path, _bounded(body, announced_size, max_bytes))
        if announced_sha256 is not None and announced_sha256 != written.sha256:
            raise InvalidInput(
                "The bytes that arrived do not have the digest that Repr-Digest announced; nothing was kept.",
                code="digest_mismatch",
            )
        return await _accept(sessions, caller, model, artifact_id, written)
    except BaseException:
        await asyncio.shield(_discard(sessions, storage, caller.tenant_id, artifact_id, path))
        raise


async def _bounded(body: AsyncIterator[bytes], announced: int | None, most: int) -> AsyncIterator[bytes]:
    """The body in blocks of at least PIECE bytes (the last one may be smaller)."""
    gathered = bytearray()
    total = 0
    while chunk := await _next(body):
        total += len(chunk)
        if total > most:
            raise _too_large(most)
        gathered += chunk
        if len(gathered) >= PIECE:
            yield bytes(gathered)
            gathered.clear()
    if announced is not None and total != announced:
        raise BadRequest(
            f"Content-Length announced {announced} bytes and {total} came; nothing was kept.",
            code="content_length_mismatch",
        )
    if gathered:
        yield bytes(gathered)


async def _next(body: AsyncIterator[bytes]) -> bytes:
    """The next chunk that is not empty; nothing at the end."""
    try:
        async with asyncio.timeout(STALL_SECONDS):
            while not (chunk := await anext(body, None)):
                if chunk is None:
                    return b""
            return chunk
    except TimeoutError:
        raise BadRequest(
            f"Nothing came for {STALL_SECONDS:.0f} seconds; nothing was kept.", code="upload_stalled"
        ) from None


async def _store(
    storage: Storage, threads: ThreadPoolExecutor, path: str, blocks: AsyncIterator[bytes]
) -> Written:
    channel = Channel()
    loop = asyncio.get_running_loop()
    writing = loop.run_in_executor(threads, storage.put, path, channel)
    writing.add_done_callback(lambda _: channel.reader_ended())
    try:
        async for block in blocks:
            await channel.send(block)
            if channel.reader_gone:  # the disk is full, say: its error is raised below
                break
        channel.end()
    except BaseException as error:
        # obstore must see an error, or it would finish the file.
        channel.fail(ConnectionAbortedError("the upload ended early"))
        await asyncio.shield(asyncio.wait([writing]))
        writing.exception()
        raise error
    try:
        return await writing
    except (StorageError, OSError) as error:
        get_logger(__name__).error("upload_not_stored", error=type(error).__name__)
        raise Unavailable(
            "The storage did not take the bytes; nothing was kept. Try again later.",
            code="storage_unavailable",
            headers={"Retry-After": "30"},
        ) from error


async def _accept(
    sessions: SeeingSessions, caller: Caller, model: str, artifact_id: uuid.UUID, written: Written
) -> uuid.UUID:
    """Version 1 is there and waits for its validation."""
    async with sessions.begin() as session:
        row = _check(await repository.lock_or_read(session, caller.tenant_id, model, lock=True))
        bound = {"tenant_id": caller.tenant_id, "model_id": row.id, "artifact_id": artifact_id}
        await session.execute(
            update(Artifact)
            .where(Artifact.id == artifact_id)
            .values(
                state=ArtifactState.STORED,
                sha256=written.sha256,
                size=written.size,
                key_store=written.key_store,
            )
        )
        version_id = (await session.execute(_EXPECT, bound)).scalar_one_or_none()
        if version_id is None:
            version_id = time_ordered_id()
            await session.execute(
                insert(ModelVersion).values(
                    id=version_id,
                    tenant_id=caller.tenant_id,
                    registered_model_id=row.id,
                    number=1,
                    artifact_id=artifact_id,
                )
            )
        await session.execute(event(caller.tenant_id, version_id, "version.pending", version=1))
        # What was sent takes the place of a URL that was named and rejected.
        await session.execute(
            update(RegisteredModel)
            .where(RegisteredModel.id == row.id)
            .values(status=ModelStatus.VALIDATING, error_code=None, error_detail=None, checkpoint_url=None)
        )
        await session.execute(event(caller.tenant_id, row.id, "model.validating"))
        await session.execute(
            audit_entry(
                caller.tenant_id,
                caller.actor,
                "model.checkpoint",
                row.id,
                caller.request_id,
                sha256=written.sha256.hex(),
                size=written.size,
            )
        )
        await queue_validation(
            session, tenant_id=caller.tenant_id, http_request_id=caller.request_id, model_id=row.id
        )
        model_id: uuid.UUID = row.id
        failpoints.reach("upload.before-commit")
    failpoints.reach("upload.after-commit")
    return model_id


async def _discard(
    sessions: SeeingSessions,
    storage: Storage,
    tenant_id: uuid.UUID,
    artifact_id: uuid.UUID,
    path: str,
) -> None:
    await asyncio.to_thread(storage.delete, path)
    async with sessions.begin() as session:
        await session.execute(
            update(Artifact)
            .where(Artifact.tenant_id == tenant_id, Artifact.id == artifact_id)
            .values(state=ArtifactState.DELETED)
        )


def _check(row: AnyRow | None) -> AnyRow:
    if row is None:
        raise model_not_found()
    if row.status == ModelStatus.DESTROYED:
        raise Gone("The model was destroyed.", code="model_destroyed")
    if row.status not in _MAY_RECEIVE:
        raise Conflict(
            "The model has its first checkpoint already; later versions come from deletion requests."
            if row.status == ModelStatus.READY
            else "A checkpoint of this model is being validated; wait for the outcome.",
            code="checkpoint_exists",
        )
    return row


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"A checkpoint may have at most {most} bytes here.", code="checkpoint_too_large")
