"""What a receiver can be told of, by name."""

from models.states import JOB_STATUSES, RunStatus, VersionState

EVENT_TYPES: tuple[str, ...] = (
    *(f"request.{status}" for status in RunStatus),
    *(f"job.{status}" for status in JOB_STATUSES),
    "job.approved",
    "job.rejected",
    "job.retried",
    "job.phase",
    "job.rung",
    "job.rung_ended",
    "job.candidate_damaged",
    *(f"version.{state}" for state in VersionState),
    "version.audited",
    "model.validating",
    "model.ready",
    "model.rejected",
    "model.version_published",
    "model.taken_back",
    "model.refreshed",
    "model.destroyed",
    "hold.place",
    "hold.lift",
    "dataset.ready",
    "dataset.rejected",
    "child.added",
    "method.changed",
    "deadline.acknowledge_soon",
    "deadline.acknowledge_passed",
    "deadline.acknowledged",
    "deadline.due_soon",
    "deadline.due_passed",
    "deadline.extended",
    "approval.granted",
    "approval.refused",
    "deadline.reapplied",
    "certificate.issued",
    "api_key.created",
)
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(name.partition(".")[0] for name in EVENT_TYPES))
# `*`, a group as `request.*`, or one type.
KNOWN: tuple[str, ...] = ("*", *(f"{group}.*" for group in GROUPS), *EVENT_TYPES)


def is_known(pattern: str) -> bool:
    return pattern in KNOWN
