"""The checker of `make chaos` says nothing of a sound service, and finds what was broken on purpose."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.orm import sessionmaker

from app.core.database import relay_url, sync_engine
from app.core.signing import configured_signer
from app.relay.sealing import seal_entries, sign_checkpoints
from chaos.checker import broken_promises, doubled_versions, lost_requests
from models import DeletionRequest, RegisteredModel
from tests.worker.world import World
from worker.equipment import Equipment
from worker.run import run_next

NOBODY = "00000000-0000-7000-8000-000000000000"
PATH = "SELECT path FROM artifacts WHERE id = (SELECT artifact_id FROM model_versions WHERE number = 2)"


@pytest.fixture
def settled(world: World, equipment: Equipment, model: RegisteredModel) -> DeletionRequest:
    """One request, accepted as the API does it, and forgotten by version 2."""
    job, request = world.job_with_request(model, instances=["p0"])
    for subject, type in ((request.id, "request.queued"), (job.id, "job.queued")):
        world.execute(
            "INSERT INTO events (tenant_id, subject_id, type) VALUES (:tenant, :subject, :type)",
            tenant=model.tenant_id,
            subject=subject,
            type=type,
        )
    world.execute(
        "INSERT INTO audit_log (tenant_id, actor, action, subject_id)"
        " VALUES (:tenant, 'key:x', 'deletion_request.create', :id)",
        tenant=model.tenant_id,
        id=request.id,
    )
    assert run_next(equipment)
    seal_and_sign(world)
    return request


def seal_and_sign(world: World) -> None:
    """As the relay does."""
    engine = sync_engine(world.settings, relay_url(world.settings), "lethe-relay")
    signer = configured_signer(world.settings)
    assert signer is not None
    assert seal_entries(sessionmaker(engine)) > 3
    assert sign_checkpoints(sessionmaker(engine), signer, "") == 1
    engine.dispose()


def storage_of(world: World) -> Path:
    return Path(world.settings.storage_url.removeprefix("file://"))


def flip(world: World) -> None:
    file = storage_of(world) / world.value(PATH)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def leave_bytes(world: World) -> None:
    (storage_of(world) / "somebody").mkdir()
    (storage_of(world) / "somebody" / "left this").write_text("bytes")


def forget_too_much(world: World) -> None:
    world.execute("UPDATE forgotten_supervision SET instance_hash = sha256('somebody else')")


def lose_an_attempt(world: World) -> None:
    world.execute(
        "DELETE FROM attempts WHERE outcome = 'succeeded' AND job_id = (SELECT max(job_id::text)::uuid"
        " FROM model_versions)"
    )


def edit_the_audit_log(world: World) -> None:
    """As only a superuser can: nothing refuses it."""
    world.execute("SET LOCAL session_replication_role = replica; UPDATE audit_log SET actor = 'nobody'")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (flip, "do not match its digest"),
        (leave_bytes, "that no artifact has"),
        (forget_too_much, "not in the ledger"),
        (lose_an_attempt, "attempts on record"),
        (edit_the_audit_log, "is not the one that was sealed"),
    ],
)
def test_what_was_broken_is_found(
    world: World, settled: DeletionRequest, damage: Callable[[World], None], says: str
) -> None:
    accepted = [str(settled.id)]
    assert broken_promises(world.rows, storage_of(world), accepted, 3) == []
    assert lost_requests(world.rows, [*accepted, NOBODY]) == [NOBODY]
    assert doubled_versions(world.rows) == 0
    damage(world)
    assert any(says in line for line in broken_promises(world.rows, storage_of(world), accepted, 3))
