"""One look from the version's name to the stored report."""

import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from app.core.database import transaction
from worker.audit.looking import Tell, look, refuse_what_means_nothing
from worker.audit.opening import Looking, Opened, Patient, find_version, open_version
from worker.audit.storing import store_report
from worker.audit.subject import Effort
from worker.audit.work_folder import work_folder
from worker.engine.data import listening
from worker.equipment import Equipment
from worker.jobs.run_folders import run_folder
from worker.pipeline.evaluate import finite, surroundings

SCHEMA = 1


@dataclass(frozen=True)
class Stored:
    audit_id: uuid.UUID
    report: dict[str, Any]


def audit(
    equipment: Equipment,
    model: str,
    number: int,
    tenant: str | None,
    effort: Effort,
    device: torch.device,
    tell: Tell,
) -> Stored:
    """Nothing is claimed and no row is held while it runs: jobs go on, and may supersede the version.

    Raises `Refused`: see `find_version`, `open_version`, `work_folder` and `look`.
    """
    started = time.monotonic()
    cache = Path(equipment.settings.cache_folder)
    with transaction(equipment.sessions) as session:
        found = find_version(session, model, number, tenant)
    with run_folder(cache) as folder, listening(lambda: None):
        opened = open_version(Looking(equipment, folder, Patient()), found)
    refuse_what_means_nothing(opened.subject, effort)
    with work_folder(cache, *_what_networks_depend_on(opened, effort, device)) as work:
        found_out = look(opened.subject, effort, work, device, tell)
        report: dict[str, Any] = finite(
            {
                "schema": SCHEMA,
                **_about(opened),
                **found_out,
                "run": {"seconds": round(time.monotonic() - started, 3), **surroundings(device)},
            }
        )
        with transaction(equipment.sessions) as session:
            audit_id = store_report(session, found.version.version_id, report)
        work.remove()
    return Stored(audit_id, report)


def _about(opened: Opened) -> dict[str, Any]:
    found, registered = opened.found, opened.registered
    return {
        "model": found.model,
        "version": found.number,
        "guarantee": found.guarantee,
        "original_attacked": opened.subject.original is not None,
        "rows_gone": opened.rows_gone,
        "recipe": asdict(registered.recipe),
        "digests": {
            "version": f"sha256:{found.version.sha256.hex()}",
            "original": f"sha256:{found.original.sha256.hex()}" if found.original else None,
            "data": registered.fingerprint,
            "holdout": registered.holdout_fingerprint,
        },
    }


def _what_networks_depend_on(opened: Opened, effort: Effort, device: torch.device) -> tuple[object, ...]:
    """Not on how many there are: with more references the first ones are the same."""
    barred = opened.subject.barred.nonzero()
    return (
        opened.found.version.sha256,
        opened.registered.network,
        asdict(opened.registered.recipe),
        opened.registered.fingerprint,
        barred.numpy().tobytes(),
        effort.seed,
        device.type,
    )
