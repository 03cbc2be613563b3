"""jobs: what runs, and a person's word on a candidate that missed a gate."""

from typing import Annotated, Any

import typer
from rich.console import Console

from lethe.answers import Job
from lethe.commands.speaking import (
    AsJson,
    Commands,
    Most,
    Profile,
    Reason,
    connected,
    day,
    identifier,
    show_table,
)

HELP = "Jobs, and the review of candidates that missed a gate."
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Its id")]


def list_jobs(
    model: Annotated[str | None, typer.Option(help="Those of this model")] = None,
    status: Annotated[str | None, typer.Option(help="queued, running, needs_review, failed, …")] = None,
    most: Most = 20,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """The newest first."""
    with connected(profile, as_json) as (client, speaker):
        listed = client.list_jobs(model=model, status=status, most=most)
        speaker.show({"data": listed}, lambda out: _show_list(out, listed))


def show(job: JobId, profile: Profile = None, as_json: AsJson = False) -> None:
    """How it stands, what was tried, and what missed which bound."""
    with connected(profile, as_json) as (client, speaker):
        found = client.get_job(_id(job))
        speaker.show(found, lambda out: _show(out, found))


def approve(job: JobId, reason: Reason, profile: Profile = None, as_json: AsJson = False) -> None:
    """Publish a candidate that missed a gate. The reason is in the certificates."""
    with connected(profile, as_json) as (client, speaker):
        found = client.approve(_id(job), reason=reason)
        speaker.show(found, lambda out: _show(out, found))


def reject(job: JobId, reason: Reason, profile: Profile = None, as_json: AsJson = False) -> None:
    """Drop a candidate that missed a gate: its requests fail, the version before stays."""
    with connected(profile, as_json) as (client, speaker):
        found = client.reject(_id(job), reason=reason)
        speaker.show(found, lambda out: _show(out, found))


def retry(job: JobId, profile: Profile = None, as_json: AsJson = False) -> None:
    """Queue a failed job's work again; it goes on in the job that is shown."""
    with connected(profile, as_json) as (client, speaker):
        found = client.retry(_id(job))
        speaker.show(found, lambda out: _show(out, found))


def cancel(job: JobId, profile: Profile = None, as_json: AsJson = False) -> None:
    """Withdraw a job with all its requests."""
    with connected(profile, as_json) as (client, speaker):
        found = client.cancel_job(_id(job))
        speaker.show(found, lambda out: _show(out, found))


def _show(out: Console, job: Job) -> None:
    lines = [f"{job.id}  {job.kind}: {job.status}" + (f", {job.phase}" if job.phase else "")]
    lines.append(f"  {_of(job)}: {job.request_count} requests, {len(job.attempts)} attempts")
    if job.result_version is not None:
        lines.append(f"  made version {job.result_version}")
    lines += [f"  tried {rung.get('method')}: {_why_not(rung)}" for rung in job.rungs]
    if job.error_detail:
        lines.append(f"  {job.error_code}: {job.error_detail}")
    if job.decision is not None:
        said = job.decision
        lines.append(f"  {said.get('decision')} by {said.get('by')}: {said.get('reason')}")
    if job.status == "needs_review":
        lines.append(f"  a person has to decide: lethe jobs approve|reject {job.id} --reason ...")
    out.print("\n".join(lines), markup=False)


def _why_not(rung: dict[str, Any]) -> str:
    why = rung.get("why_not")
    return ", ".join(map(str, why)) if isinstance(why, list) else str(why or rung.get("result"))


def _show_list(out: Console, jobs: list[Job]) -> None:
    rows = [
        (each.id, each.kind, _of(each), each.status, each.request_count, day(each.due_at)) for each in jobs
    ]
    show_table(out, ("job", "kind", "of", "status", "requests", "due"), rows, "There are no jobs.")


def _of(job: Job) -> str:
    return f"model {job.model}" if job.model else f"data set {job.dataset}"


def _id(text: str) -> str:
    return identifier(text, "job")


COMMANDS: Commands = {
    "list": list_jobs,
    "show": show,
    "approve": approve,
    "reject": reject,
    "retry": retry,
    "cancel": cancel,
}
