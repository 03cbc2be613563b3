"""Says which promise is broken. Reads the database and the storage, and nothing else: no log, no memory of
the run but the ids that clients were promised."""

import hashlib
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from chaos.audit_chain import broken_chains
from models.states import JOB, REQUEST, RunStatus
from tests.webhooks.receiver import Receiver

Query = Callable[..., list[Any]]

SETTLED = {"succeeded", "failed", "cancelled", "needs_review", "awaiting_approval"}
PROBE = "readiness-probe"


def broken_promises(rows: Query, storage: Path, accepted: Sequence[str], max_attempts: int) -> list[str]:
    """Empty when all is well. The service has come to rest, and its relay has swept."""
    return [
        *_lost(rows, accepted),
        *_versions(rows, storage),
        *_doubled(rows),
        *_ledger(rows),
        *_attempts(rows, max_attempts),
        *_histories(rows),
        *_audit(rows),
        *broken_chains(rows),
        *_artifacts(rows, storage),
        *_deliveries(rows),
    ]


def lost_requests(rows: Query, accepted: Sequence[str]) -> list[str]:
    """Accepted ones that are not there, or not settled."""
    found = {str(row.id): row.status for row in rows("SELECT id, status FROM deletion_requests")}
    return [request for request in accepted if found.get(request) not in SETTLED]


def doubled_versions(rows: Query) -> int:
    """Jobs with more than one version, and requests that more than one version was made for."""
    jobs = rows("SELECT job_id FROM model_versions WHERE job_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1")
    return len(jobs) + sum(count > 1 for count in _versions_of_requests(rows).values())


def undelivered(rows: Query, receiver: Receiver) -> list[str]:
    """Events that are marked as delivered, and never came."""
    came = {each.headers["webhook-id"] for each in receiver.received}
    [(marked,)] = rows("SELECT count(*) FROM webhook_deliveries WHERE status = 'delivered'")
    return [f"{marked} events were delivered, and {len(came)} came"] if marked > len(came) else []


def _deliveries(rows: Query) -> Iterator[str]:
    for row in rows("SELECT status, count(*) FROM webhook_deliveries WHERE status <> 'delivered' GROUP BY 1"):
        yield f"{row.count} deliveries of webhooks are {row.status}"


def _lost(rows: Query, accepted: Sequence[str]) -> Iterator[str]:
    for request in lost_requests(rows, accepted):
        yield f"the accepted request {request} is lost, or not settled"
    for row in rows("SELECT id FROM deletion_requests WHERE status = 'failed' AND error_code IS NULL"):
        yield f"request {row.id} failed without a reason"
    for row in rows("SELECT id, status FROM jobs WHERE status IN ('queued', 'running', 'cancelling')"):
        yield f"job {row.id} is still {row.status}"


def _versions(rows: Query, storage: Path) -> Iterator[str]:
    """A line without gaps; bytes that match their digest; a head that can be read and is the newest."""
    found = rows(
        "SELECT v.id, v.registered_model_id AS model, v.number, v.parent_id, v.state, a.path, a.sha256,"
        " a.size"
        " FROM model_versions v JOIN artifacts a ON a.id = v.artifact_id ORDER BY model, v.number"
    )
    heads = {row.id: row for row in rows("SELECT id, status, head_version_id FROM registered_models")}
    lines: dict[uuid.UUID, list[Any]] = {}
    for row in found:
        lines.setdefault(row.model, []).append(row)
        if row.state in ("published", "superseded"):
            yield from _unreadable(row, storage)
    for model, line in lines.items():
        if [row.number for row in line] != list(range(1, len(line) + 1)):
            yield f"the versions of model {model} are numbered {[row.number for row in line]}"
        if any(after.parent_id != before.id for before, after in pairwise(line)):
            yield f"the versions of model {model} form no line"
        if heads[model].status == "ready" and heads[model].head_version_id != line[-1].id:
            yield f"the head of model {model} is not its newest version"
        if [row.state for row in line[:-1]] != ["superseded"] * (len(line) - 1):
            yield f"an older version of model {model} is not superseded"
    for row in rows(
        "SELECT m.id FROM registered_models m LEFT JOIN aliases a ON a.registered_model_id = m.id"
        " AND a.name = 'latest' WHERE m.status = 'ready' AND a.version_id IS DISTINCT FROM m.head_version_id"
    ):
        yield f"latest of model {row.id} is not its head"


def _unreadable(row: Any, storage: Path) -> Iterator[str]:
    try:
        content = (storage / row.path).read_bytes()
    except FileNotFoundError:
        yield f"version {row.number} of model {row.model} has no bytes"
        return
    if hashlib.sha256(content).digest() != bytes(row.sha256) or len(content) != row.size:
        yield f"the bytes of version {row.number} of model {row.model} do not match its digest"


def _versions_of_requests(rows: Query) -> Counter[str]:
    """How many versions each request is in the report of."""
    reports = rows("SELECT report -> 'run' -> 'requests' AS requests FROM model_versions WHERE number > 1")
    return Counter(request for row in reports for request in row.requests or [])


def _doubled(rows: Query) -> Iterator[str]:
    if doubled_versions(rows):
        yield f"{doubled_versions(rows)} versions were made twice"
    covered = _versions_of_requests(rows)
    for row in rows(
        "SELECT r.id, r.status, r.result_version_id,"
        " CASE WHEN j.id IS NULL THEN to_jsonb(true) ELSE j.report -> 'nothing_to_forget' END AS nothing"
        " FROM deletion_requests r LEFT JOIN jobs j ON j.id = r.job_id"
    ):
        made = covered[str(row.id)]
        needs_one = row.nothing is None
        if row.status == "succeeded" and (row.result_version_id is None or needs_one != bool(made)):
            yield f"request {row.id} succeeded without a version that forgot it"
        if row.status != "succeeded" and made:
            yield f"request {row.id} is {row.status}, and a version has forgotten it all the same"


def _ledger(rows: Query) -> Iterator[str]:
    """Everything that a succeeded request named and was supervised is in the ledger, and nothing else is."""
    wanted = """
      SELECT DISTINCT r.registered_model_id, i.instance_hash, bits.task
      FROM deletion_requests r
      JOIN deletion_request_items i ON i.deletion_request_id = r.id
      JOIN dataset_instances d ON d.dataset_id = r.dataset_id AND d.instance_hash = i.instance_hash
      JOIN (SELECT datasets.id, t.value ->> 'name' AS task, CAST(t.ordinality - 1 AS int) AS bit
            FROM datasets, jsonb_array_elements(targets) WITH ORDINALITY AS t) bits
        ON bits.id = r.dataset_id AND bits.task = ANY(r.tasks) AND (d.supervised >> bits.bit) & 1 = 1
      WHERE r.status = 'succeeded'
    """
    entered = "SELECT registered_model_id, instance_hash, task FROM forgotten_supervision"
    missing = rows(f"SELECT count(*) AS n FROM ({wanted} EXCEPT {entered}) AS missing")[0].n
    extra = rows(f"SELECT count(*) AS n FROM ({entered} EXCEPT {wanted}) AS extra")[0].n
    if missing:
        yield f"{missing} pairs that were to be forgotten are not in the ledger"
    if extra:
        yield f"{extra} pairs are in the ledger that no succeeded request names"


def _attempts(rows: Query, max_attempts: int) -> Iterator[str]:
    """Counted by the claim, each with its record, and never more than the cap, which a review begins anew."""
    for row in rows(
        "SELECT j.id, j.fence, j.attempt, j.status, count(a.id) AS attempts,"
        " count(*) FILTER (WHERE a.outcome IS NULL) AS open,"
        " count(*) FILTER (WHERE a.outcome = 'succeeded') AS succeeded,"
        " count(*) FILTER (WHERE a.outcome IN ('lease_lost', 'failed') AND a.fence > coalesce((SELECT"
        "  max(fence) FROM attempts WHERE job_id = j.id AND outcome = 'needs_review'), 0)) AS counted"
        " FROM jobs j LEFT JOIN attempts a ON a.job_id = j.id GROUP BY j.id"
    ):
        if row.attempts != row.fence:
            yield f"job {row.id} was claimed {row.fence} times and has {row.attempts} attempts on record"
        if row.fence and row.open:
            yield f"an attempt at job {row.id} has no outcome"
        if row.succeeded != (row.status == "succeeded"):
            yield f"job {row.id} is {row.status} with {row.succeeded} attempts that succeeded"
        if row.counted > max_attempts:
            yield f"job {row.id} was tried {row.counted} times"


def _histories(rows: Query) -> Iterator[str]:
    """Each history is a walk through its table of transitions, from `queued` to where the row is now."""
    for table, machine, prefix in (("deletion_requests", REQUEST, "request."), ("jobs", JOB, "job.")):
        walks: dict[uuid.UUID, list[str]] = {}
        for row in rows("SELECT subject_id, type FROM events ORDER BY id"):
            name = row.type.removeprefix(prefix)
            if row.type.startswith(prefix) and name in set(RunStatus):
                walks.setdefault(row.subject_id, []).append(name)
        for row in rows(f"SELECT id, status FROM {table} WHERE status IS NOT NULL"):
            walk = walks.get(row.id, [])
            if not walk or walk[-1] != row.status:
                yield f"the history of {prefix}{row.id} ends with {walk[-1:]}, and it is {row.status}"
            for before, after in pairwise(walk):
                steps = machine[RunStatus(before)] | _in_one_go(before, after)
                if before != after and RunStatus(after) not in steps:
                    yield f"{prefix}{row.id} went from {before} to {after}"


def _in_one_go(before: str, after: str) -> frozenset[RunStatus]:
    """A job that all requests have left is cancelled by way of `cancelling` within one transaction."""
    return frozenset({RunStatus.CANCELLED}) if (before, after) == ("running", "cancelled") else frozenset()


def _audit(rows: Query) -> Iterator[str]:
    """One row for each request that came, and one for each that was carried out or failed."""
    actions = Counter(
        (row.subject_id, row.action)
        for row in rows("SELECT subject_id, action FROM audit_log WHERE action LIKE 'deletion_request.%'")
    )
    for row in rows("SELECT id, status, job_id FROM deletion_requests"):
        if actions[row.id, "deletion_request.create"] != 1:
            yield f"request {row.id} was recorded {actions[row.id, 'deletion_request.create']} times"
        settled = actions[row.id, f"deletion_request.{row.status}"]
        if row.status in ("succeeded", "failed") and row.job_id is not None and settled != 1:
            yield f"the settlement of request {row.id} was recorded {settled} times"
    for row in rows("SELECT count(*) AS n FROM audit_log a WHERE a.tenant_id IS NULL"):
        if row.n:
            yield "an audit row belongs to nobody"


def _artifacts(rows: Query, storage: Path) -> Iterator[str]:
    """Every file is an artifact's that somebody refers to, and nothing else lies there."""
    kept = {row.path for row in rows("SELECT path FROM artifacts WHERE state = 'stored'")}
    for row in rows("SELECT id, kind FROM artifacts WHERE state = 'pending'"):
        yield f"the {row.kind} {row.id} was never finished, and no sweep has removed it"
    for row in rows(
        "SELECT a.id, a.kind FROM artifacts a WHERE a.state = 'stored'"
        " AND NOT EXISTS (SELECT FROM model_versions v WHERE v.artifact_id = a.id)"
        " AND NOT EXISTS (SELECT FROM jobs j WHERE a.id IN (j.candidate_artifact_id, j.snapshot_artifact_id)"
        " AND j.status = 'needs_review')"
    ):
        yield f"the {row.kind} {row.id} is an orphan"
    files = {str(file.relative_to(storage)) for file in storage.rglob("*") if file.is_file()}
    files -= {path for path in files if path.startswith("journal/")}
    for path in sorted(files - kept - {PROBE}):
        yield f"there are bytes at {path} that no artifact has"
    for path in sorted(kept - files):
        yield f"there are no bytes at {path}"
