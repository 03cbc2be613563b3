"""A deletion job from its requests to a new version: load → unlearn → evaluate → publish → notify."""

import contextlib
import time
import uuid
from collections.abc import Iterator
from typing import Any

import torch
from obstore.exceptions import BaseError as StorageError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.core import settling
from app.core.audit import event
from app.core.logging import get_logger
from app.core.storage import Written
from models import Job, Phase
from models.states import RunStatus
from worker.engine.checkpoint import write_checkpoint
from worker.engine.contract import Outcome, Refused
from worker.jobs.artifacts import discard_pending, mark_stored, store_file
from worker.jobs.heartbeat import Order
from worker.jobs.monitor import Stopped
from worker.jobs.running import Running
from worker.pipeline.device import choose_device, device_name
from worker.pipeline.evaluate import evaluate
from worker.pipeline.gates import gate_record, missed_gates
from worker.pipeline.ladder import (
    ANSWERED_BY_RETRAINING,
    MISSED,
    Rung,
    fails_in_the_end,
    how_far,
    next_rung,
)
from worker.pipeline.load import Loaded, load
from worker.pipeline.publish import publish, publish_approved
from worker.pipeline.rungs import PUBLISHED, best_so_far, came_back, note_rung, record_of, refusal_of
from worker.pipeline.sign import sign_checkpoint
from worker.pipeline.unlearn import unlearn

CANDIDATE = "candidate.safetensors"


def delete_supervision(running: Running) -> None:
    """Raises `Refused`, `Stopped`, `LeaseLost`; ends with the job settled otherwise."""
    if running.claim.approved:
        running.enter(Phase.PUBLISHING)
        publish_approved(running)
        return
    with _timed(running, Phase.LOADING):
        loaded = load(running)
    if not loaded.something_to_forget:
        _settle_without_version(running, loaded)
        return
    device = choose_device(running.equipment.settings)
    running.act(lambda session, job: _record_device(session, job, device_name(device)), "device")
    policy = loaded.registered.policy
    tried: list[dict[str, Any]] = running.act(lambda _, job: list(job.rungs))
    while rung := next_rung(policy, running.claim.method or "", loaded.empirical_steps, tried):
        record = _climb(running, loaded, rung, tried, device)
        if record["result"] == PUBLISHED:
            return
        tried = [*tried, record]
    _conclude(running, policy, tried)


def _climb(
    running: Running, loaded: Loaded, rung: Rung, tried: list[dict[str, Any]], device: torch.device
) -> dict[str, Any]:
    """Make a candidate and publish it if it passes the gates; the record of what came of it."""
    _announce(running, rung, tried, loaded.registered.policy)
    try:
        with _timed(running, Phase.UNLEARNING):
            outcome = unlearn(running, loaded, rung, came_back(tried), device)
    except Refused as refused:
        return _refused(running, loaded, rung, tried, refused)
    with _timed(running, Phase.EVALUATING):
        report = evaluate(running, loaded, rung, outcome, device)
    running.enter(Phase.PUBLISHING)
    report["run"]["gone_at_source"] = loaded.gone
    report["run"]["seconds"] = {name: round(value, 3) for name, value in running.seconds.items()}
    with _candidate(running, loaded, outcome) as (artifact_id, written):
        report["run"]["digests"]["new"] = f"sha256:{written.sha256.hex()}"
        report["signature"] = sign_checkpoint(
            running.equipment.settings, running.folder / CANDIDATE, running.folder
        )
        return _judge(running, loaded, rung, tried, report, artifact_id, written)


def _judge(
    running: Running,
    loaded: Loaded,
    rung: Rung,
    tried: list[dict[str, Any]],
    report: dict[str, Any],
    artifact_id: uuid.UUID,
    written: Written,
) -> dict[str, Any]:
    """Publish the candidate if it passes the gates; else keep it if it is the best so far."""
    policy, actor = loaded.registered.policy, running.claim.actor
    gates = policy.get("gates", {})
    again = bool(came_back(tried))
    missed = missed_gates(report, gates, again)
    report["gates"] = gate_record(report, gates, missed, again)
    record = record_of(rung, running.claim.fence, report, missed)
    report["rungs"] = [*tried, record]
    if not missed:
        publish(running, report, artifact_id, written)
        return record

    def keep(session: Session, job: Job) -> None:
        note_rung(session, job, actor, record)
        if not best_so_far(tried, record):
            return
        job.report = report
        if not fails_in_the_end(policy):
            mark_stored(session, artifact_id, written)
            session.flush()
            job.candidate_artifact_id = artifact_id

    running.act(keep, "rung")
    return record


def _refused(
    running: Running, loaded: Loaded, rung: Rung, tried: list[dict[str, Any]], refused: Refused
) -> dict[str, Any]:
    """What a method cannot do, retraining may, where the policy allows it; or an earlier candidate is left to
    decide on. Raises `refused` otherwise."""
    record = refusal_of(rung, running.claim.fence, refused)
    method, steps = running.claim.method or "", loaded.empirical_steps
    after = next_rung(loaded.registered.policy, method, steps, [*tried, record])
    answered = after is not None and refused.code in ANSWERED_BY_RETRAINING
    if not answered and not any(other["result"] == MISSED for other in tried):
        raise refused
    running.act(lambda session, job: note_rung(session, job, running.claim.actor, record), "rung")
    return record


def _conclude(running: Running, policy: dict[str, Any], tried: list[dict[str, Any]]) -> None:
    """Nothing is left to try: the best candidate waits for a person, or the job fails, as the policy says."""
    missed = [record for record in tried if record["result"] == MISSED]
    if not missed:
        raise Refused(tried[-1]["code"], tried[-1]["why_not"])
    best = min(reversed(missed), key=lambda record: record["severity"])
    detail = best["why_not"]
    if len(tried) > 1:
        detail += f" Tried: {', '.join(record['rung'] for record in tried)}; the best was {best['rung']}."
    if fails_in_the_end(policy):
        raise Refused("gate_missed", detail)

    def hold(session: Session, job: Job) -> None:
        if job.candidate_artifact_id is None:
            raise Stopped(Order.RESTART)
        report = (job.report or {}) | {"rungs": tried}
        actor = running.claim.actor
        settling.hold_for_review(session, job, actor, job.candidate_artifact_id, detail, report)

    running.act(hold, "settle")


def _announce(running: Running, rung: Rung, tried: list[dict[str, Any]], policy: dict[str, Any]) -> None:
    """Whoever follows the job sees which rung it is in, and of how many."""
    running.heartbeat.about = {
        "rung": rung.name,
        "rung_number": len(tried) + 1,
        "rungs": how_far(tried, policy, rung),
    }
    get_logger(__name__).info("rung", rung=rung.name, method=rung.method, scale=rung.scale)
    if rung.why is not None:
        told = {"rung": rung.name, "method": rung.method, "why": rung.why}
        running.act(
            lambda session, job: session.execute(event(job.tenant_id, job.id, "job.rung", **told)) and None
        )


@contextlib.contextmanager
def _candidate(running: Running, loaded: Loaded, outcome: Outcome) -> Iterator[tuple[uuid.UUID, Written]]:
    """The candidate's checkpoint in storage, in the form that was registered. It is removed again unless
    somebody came to refer to it; what cannot be removed now is left to the relay."""
    file = running.folder / CANDIDATE
    write_checkpoint(file, outcome.network, loaded.layout)
    equipment = running.equipment
    artifact_id, written = store_file(
        equipment.sessions, equipment.storage, running.claim, "checkpoint", file, running.monitor.check
    )
    try:
        yield artifact_id, written
    finally:
        try:
            discard_pending(equipment.sessions, equipment.storage, artifact_id)
        except (SQLAlchemyError, StorageError, OSError) as error:
            get_logger(__name__).warning("candidate_not_removed", error=type(error).__name__)


def _settle_without_version(running: Running, loaded: Loaded) -> None:
    """The head behaves already as the requests want."""
    get_logger(__name__).info("nothing_to_forget")

    def change(session: Session, job: Job) -> None:
        if job.status == RunStatus.CANCELLING or not loaded.requests:  # all was taken back
            raise Stopped(Order.CANCEL)
        job.report = {"nothing_to_forget": True}
        settling.succeed(session, job, running.claim.actor, version_id=loaded.base.version_id)

    running.act(change)


def _record_device(session: Session, job: Job, name: str) -> None:
    job.device = name
    settling.attempt_of(session, job).device = name
    get_logger(__name__).info("device", device=name)


@contextlib.contextmanager
def _timed(running: Running, phase: Phase) -> Iterator[None]:
    running.enter(phase)
    start = time.monotonic()
    yield
    running.seconds[phase.value] = running.seconds.get(phase.value, 0.0) + time.monotonic() - start
