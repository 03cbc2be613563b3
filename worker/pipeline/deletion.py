"""A deletion job from its requests to a new version: load → unlearn → evaluate → publish → notify."""

import contextlib
import time
import uuid
from collections.abc import Iterator
from typing import Any

from obstore.exceptions import BaseError as StorageError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.core import settling
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
from worker.pipeline.load import Loaded, load
from worker.pipeline.publish import publish, publish_approved
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
    with _timed(running, Phase.UNLEARNING):
        outcome = unlearn(running, loaded, device)
    with _timed(running, Phase.EVALUATING):
        report = evaluate(running, loaded, outcome, device)
    running.enter(Phase.PUBLISHING)
    report["run"]["gone_at_source"] = loaded.gone
    report["run"]["seconds"] = {name: round(value, 3) for name, value in running.seconds.items()}
    with _candidate(running, loaded, outcome) as (artifact_id, written):
        report["run"]["digests"]["new"] = f"sha256:{written.sha256.hex()}"
        report["signature"] = sign_checkpoint(
            running.equipment.settings, running.folder / CANDIDATE, running.folder
        )
        _judge(running, loaded, report, artifact_id, written)


def _judge(
    running: Running, loaded: Loaded, report: dict[str, Any], artifact_id: uuid.UUID, written: Written
) -> None:
    """Publish the candidate if it passes the gates; otherwise do as the policy says."""
    gates = loaded.registered.policy.get("gates", {})
    missed = missed_gates(report, gates)
    report["gates"] = gate_record(report, gates, missed)
    if not missed:
        publish(running, report, artifact_id, written)
        return
    detail = " ".join(miss.sentence() for miss in missed)
    if loaded.registered.policy.get("on_miss") == "fail":
        running.act(lambda session, job: _keep_report(job, report))
        raise Refused("gate_missed", detail)

    def hold(session: Session, job: Job) -> None:
        mark_stored(session, artifact_id, written)
        session.flush()
        settling.hold_for_review(session, job, running.claim.actor, artifact_id, detail, report)

    running.act(hold, "settle")


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


def _keep_report(job: Job, report: dict[str, Any]) -> None:
    job.report = report


@contextlib.contextmanager
def _timed(running: Running, phase: Phase) -> Iterator[None]:
    running.enter(phase)
    start = time.monotonic()
    yield
    running.seconds[phase.value] = time.monotonic() - start
