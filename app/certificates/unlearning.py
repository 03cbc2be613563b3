"""The unlearning statement: what was asked, done and measured, and what that does not prove."""

from importlib.metadata import version
from typing import Any

from app.certificates.facts import Facts
from app.certificates.limits import of_unlearning
from app.core.rows import AnyRow
from app.core.wire import rfc3339

# Of a run's record, what concerns this request alone or all alike: never the ids of other requests.
_PRIVATE_TO_THE_BATCH = ("requests", "residuals", "digests", "method", "guarantee", "gone_at_source")


def subject_of(facts: Facts) -> dict[str, str]:
    """The new checkpoint, under the name and number by which the service hands it out."""
    return {f"{facts.request.model}@{facts.request.version}": facts.request.sha256}


def unlearning_predicate(facts: Facts, service: str) -> dict[str, Any]:
    """`service`: the URL under which clients reach it."""
    request, run = facts.request, facts.report.get("run", {})
    outcome = "unlearned" if request.unlearned else "nothing_left"
    guarantee = request.guarantee if request.unlearned else None
    own = _of_request(facts, facts.report.get("requests", []))
    gone = int(run.get("gone_at_source", {}).get(str(request.id), 0)) if request.unlearned else 0
    predicate: dict[str, Any] = {
        "issued_at": rfc3339(request.at),
        "service": service_of(service),
        "tenant": {"id": str(request.tenant_id), "name": request.tenant},
        "request": _request(facts),
        "model": {"id": str(request.model_id), "name": request.model, "dataset": request.dataset},
        "base": _base(request),
        "result": _result(request),
        "outcome": outcome,
        "method": run.get("method") if request.unlearned else None,
        "guarantee": guarantee,
        "supervision": _supervision(facts),
        "since_last_training": _line(facts.line),
        "does_not_prove": of_unlearning(outcome, guarantee, own, gone, facts.never_had_count),
    }
    if request.unlearned:
        predicate |= {
            "measurements": {
                "tasks": facts.report.get("tasks", {}),
                "uis": facts.report.get("uis"),
                "this_request": own,
                "requests_in_batch": len(run.get("requests", [])),
                "residuals": _of_request(facts, run.get("residuals", [])),
            },
            "gates": facts.report.get("gates"),
            "tried": [_tried(record) for record in facts.report.get("rungs", [])],
            "earlier": _earlier(facts.report),
            "data": {
                "training": request.fingerprint,
                "holdout": request.holdout_fingerprint,
                "gone_at_source": gone,
                "gone_hashes": facts.gone,
            },
            "run": {key: value for key, value in run.items() if key not in _PRIVATE_TO_THE_BATCH},
        }
    return predicate


def service_of(url: str) -> dict[str, str]:
    return {"url": url, "version": version("lethe-service")}


def _request(facts: Facts) -> dict[str, Any]:
    row = facts.request
    return {
        "id": str(row.id),
        "parent": str(row.parent_id) if row.parent_id else None,
        "reference": row.reference,
        "regulation": row.regulation,
        "received_at": rfc3339(row.created_at),
        "due_at": rfc3339(row.due_at) if row.due_at else None,
        "finished_at": rfc3339(row.finished_at),
        "acknowledged_at": rfc3339(row.acknowledged_at) if row.acknowledged_at else None,
        "extension": row.extension,
        "tasks": list(row.tasks),
        "scope": row.scope,
        "guarantee_asked": row.guarantee_asked,
        "instances": {
            "count": row.instance_count,
            "hash": "HMAC-SHA-256",
            "hash_key_id": row.hash_key_id,
            "hashes": facts.hashes,
            "sha256_of_sorted_hashes": facts.digest,
        },
        "never_had": {"count": facts.never_had_count, "hashes": facts.never_had},
    }


def _base(row: AnyRow) -> dict[str, Any] | None:
    if not row.unlearned or row.base_version is None:
        return None
    return {"version": row.base_version, "digest": f"sha256:{row.base_sha256}"}


def _result(row: AnyRow) -> dict[str, Any]:
    return {
        "version": row.version,
        "digest": f"sha256:{row.sha256}",
        "published_at": rfc3339(row.published_at),
    }


def _supervision(facts: Facts) -> dict[str, Any]:
    """In labels: one per instance and task."""
    row = facts.request
    now = [each for each in facts.forgotten if row.unlearned and each.version_id == row.version_id]
    before = [each for each in facts.forgotten if each not in now]
    named = row.instance_count * len(row.tasks)
    return {
        "named": named,
        "forgotten_by_this_version": sum(each.labels for each in now),
        "forgotten_before": [
            {"version": each.version, "guarantee": each.guarantee, "labels": each.labels} for each in before
        ],
        "never_present": named - sum(each.labels for each in facts.forgotten),
    }


def _line(line: list[AnyRow]) -> dict[str, Any]:
    """How far the version is from one that was trained: version 1, or the last exact retraining."""
    empirical = [version for version in line if version.guarantee == "empirical"]
    return {
        "trained_version": line[0].version,
        "unlearned_versions": len(empirical),
        "labels_unlearned": sum(version.labels for version in empirical),
    }


def _tried(record: dict[str, Any]) -> dict[str, Any]:
    """A rung of the job, without the ids of the requests that it concerned."""
    shown = ("rung", "method", "scale", "why", "at", "result", "guarantee", "figures", "why_not")
    return {key: record.get(key) for key in shown}


def _earlier(report: dict[str, Any]) -> dict[str, Any]:
    """What had been forgotten before, looked at once more on this version."""
    levels, gone = report.get("earlier_levels", []), report.get("earlier_gone", [])
    back = {reference for record in report.get("rungs", []) for reference, _ in record.get("came_back", [])}
    return {
        "requests_measured": len({name for level in levels for name in level["references"]}),
        "requests_that_came_back": len(back),
        "labels_no_longer_checkable": sum(entry["labels"] for entry in gone),
        "levels": [{key: level[key] for key in ("task", "instances", "forget", "risen")} for level in levels],
    }


def _of_request(facts: Facts, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    mine = str(facts.request.id)
    return [
        {key: value for key, value in entry.items() if key != "reference"}
        for entry in entries
        if entry.get("reference") == mine
    ]
