"""What is recorded of each rung that a job tried: in its row, with the attempt, in history and report."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from app.core import settling
from app.core.audit import audit_entry, event
from models import Job
from worker.engine.contract import Refused
from worker.pipeline.gates import EARLIER, Miss
from worker.pipeline.ladder import MISSED, REFUSED, Rung
from worker.pipeline.unlearn import Back

PUBLISHED = "published"
SMALLEST_BOUND = {"membership_auc": 0.02}  # what a miss is compared with where the bound is about 0; else 1


def record_of(rung: Rung, fence: int, report: dict[str, Any], missed: list[Miss]) -> dict[str, Any]:
    """Of a rung that came to a candidate. `figures` is what was measured of each bound."""
    decided = report["gates"]["decided"]
    back = [[reference, miss.task] for miss in missed for reference in miss.came_back]
    return _base(rung, fence) | {
        "result": MISSED if missed else PUBLISHED,
        "guarantee": report["run"]["guarantee"],
        "why_not": " ".join(miss.sentence() for miss in missed) or None,
        "figures": [
            {key: entry[key] for key in ("gate", "task", "bound", "figure", "kept")} for entry in decided
        ],
        "severity": round(sum(_severity(miss) for miss in missed), 4),
        "only_earlier": bool(missed) and all(miss.gate == EARLIER for miss in missed),
        "came_back": back,
    }


def refusal_of(rung: Rung, fence: int, refused: Refused) -> dict[str, Any]:
    return _base(rung, fence) | {
        "result": REFUSED,
        "guarantee": None,
        "code": refused.code,
        "why_not": str(refused),
        "figures": [],
        "severity": None,
        "only_earlier": False,
        "came_back": [],
    }


def note_rung(session: Session, job: Job, actor: str, record: dict[str, Any]) -> None:
    """In the transaction that acts on it. A later attempt goes on behind it."""
    job.rungs = [*job.rungs, record]
    job.revision += 1
    attempt = settling.attempt_of(session, job)
    attempt.rungs = [*attempt.rungs, record]
    if record["result"] == PUBLISHED:
        return
    told = {key: record[key] for key in ("rung", "method", "result", "why_not")}
    session.execute(event(job.tenant_id, job.id, "job.rung_ended", **told))
    session.execute(audit_entry(job.tenant_id, actor, "job.rung_ended", job.id, **told))


def best_so_far(tried: list[dict[str, Any]], record: dict[str, Any]) -> bool:
    """Whether no earlier candidate came closer to its bounds: that one a person would have to decide on."""
    earlier = [other["severity"] for other in tried if other["severity"] is not None]
    return all(record["severity"] <= other for other in earlier)


def came_back(tried: list[dict[str, Any]]) -> Back:
    return {(reference, task) for record in tried for reference, task in record["came_back"]}


def _base(rung: Rung, fence: int) -> dict[str, Any]:
    return {
        "rung": rung.name,
        "method": rung.method,
        "scale": rung.scale,
        "why": rung.why,
        "attempt": fence,
        "at": datetime.now(UTC).isoformat(),
    }


def _severity(miss: Miss) -> float:
    return (miss.figure - miss.bound) / max(miss.bound, SMALLEST_BOUND.get(miss.gate, 1.0))
