"""request, status, watch, cancel, retry, approve, reject, certificate."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from lethe.answers import DeletionRequest, Estimate, Event
from lethe.commands.following import follow
from lethe.commands.speaking import (
    AsJson,
    Commands,
    Most,
    Profile,
    Reason,
    connected,
    day,
    end_with,
    identifier,
    show_table,
)
from lethe.instances import read_instances

RequestId = Annotated[str, typer.Argument(metavar="REQUEST", help="Id of the request")]


def request(
    tasks: Annotated[str, typer.Option(help="Names with commas between, or all")],
    model: Annotated[str | None, typer.Option(help="Name or id of the model that shall forget")] = None,
    dataset: Annotated[str | None, typer.Option(help="In its place: all models of a data set")] = None,
    instances: Annotated[
        Path | None, typer.Option(help="File of ids: .csv, .ndjson, or a line each; - for standard input")
    ] = None,
    instance: Annotated[list[str] | None, typer.Option(help="An id; may be repeated")] = None,
    column: Annotated[
        str | None, typer.Option(help="Column (or member) of the file that holds the ids")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Your own name for this")] = None,
    regulation: Annotated[str | None, typer.Option(help="Sets the due date, such as gdpr")] = None,
    method: Annotated[str | None, typer.Option(help="In place of the method of the model's policy")] = None,
    guarantee: Annotated[
        Literal["exact", "empirical"] | None, typer.Option(help="exact: by retraining without them")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key makes one request, however often this is run")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and estimate; write nothing")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress until it has ended")] = False,
    timeout: Annotated[float | None, typer.Option(help="With --wait: seconds at most")] = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Ask for instances' supervision to be forgotten."""
    if (model is None) == (dataset is None):
        raise typer.BadParameter("name one of --model and --dataset")
    if (instances is None) == (not instance):
        raise typer.BadParameter("name the instances by --instances or by --instance")
    named_tasks: Any = "all" if tasks == "all" else [name.strip() for name in tasks.split(",")]
    with connected(profile, as_json) as (client, speaker):
        ids = read_instances(instances, column) if instances is not None else list(instance or ())
        asked = {"model": model, "dataset": dataset, "tasks": named_tasks, "regulation": regulation}
        if dry_run:
            estimate = client.estimate(ids, method=method, guarantee=guarantee, **asked)
            speaker.show(estimate, lambda out: _show_estimate(out, estimate))
            return
        made = client.request_deletion(
            ids,
            method=method,
            guarantee=guarantee,
            reference=reference,
            idempotency_key=idempotency_key,
            **asked,
        )
        if not wait:
            speaker.show(made, lambda out: show_request(out, made))
            return
        if not as_json:
            speaker.err.print(f"Request {made.id}", markup=False)
        done = follow(client, speaker, made, timeout)
        speaker.show(done, lambda out: show_request(out, done))
        end_with(done)


def status(
    request: Annotated[str | None, typer.Argument(metavar="[REQUEST]", help="Id; or the newest ones")] = None,
    model: Annotated[str | None, typer.Option(help="Those of this model")] = None,
    reference: Annotated[str | None, typer.Option(help="Those of this reference")] = None,
    most: Most = 20,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """How a request stands, or the newest requests."""
    with connected(profile, as_json) as (client, speaker):
        if request is not None:
            found = client.get_request(_id(request))
            speaker.show(found, lambda out: show_request(out, found))
            return
        listed = client.list_requests(model=model, reference=reference, most=most)
        speaker.show({"data": listed}, lambda out: _show_list(out, listed))


def watch(
    request: RequestId,
    after: Annotated[int, typer.Option(help="Only what came after this event")] = 0,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """What happens to a request, as it happens, until it has ended."""
    with connected(profile, as_json) as (client, speaker):
        seen: list[Event] = []
        for event in client.events(_id(request), after=after):
            if event.id is not None:
                seen.append(event)
            if not as_json:
                _show_event(speaker.out, event)
        done = client.get_request(_id(request))
        speaker.show({"events": seen, "request": done}, lambda out: show_request(out, done))
        end_with(done)


def cancel(request: RequestId, profile: Profile = None, as_json: AsJson = False) -> None:
    """Withdraw a request."""
    with connected(profile, as_json) as (client, speaker):
        found = client.cancel(_id(request))
        speaker.show(found, lambda out: show_request(out, found))


def retry(request: RequestId, profile: Profile = None, as_json: AsJson = False) -> None:
    """Queue a failed request again; of a request on a data set, the children that failed."""
    with connected(profile, as_json) as (client, speaker):
        found = client.retry_request(_id(request))
        speaker.show(found, lambda out: show_request(out, found))


def approve(request: RequestId, reason: Reason, profile: Profile = None, as_json: AsJson = False) -> None:
    """Have a request carried out that waits for an administrator's approval (scope admin, by another key)."""
    with connected(profile, as_json) as (client, speaker):
        found = client.approve_request(_id(request), reason=reason)
        speaker.show(found, lambda out: show_request(out, found))


def reject(request: RequestId, reason: Reason, profile: Profile = None, as_json: AsJson = False) -> None:
    """Do not have it carried out: it fails, and may be retried (scope admin)."""
    with connected(profile, as_json) as (client, speaker):
        found = client.reject_request(_id(request), reason=reason)
        speaker.show(found, lambda out: show_request(out, found))


def certificate(
    request: RequestId,
    output: Annotated[Path | None, typer.Option(help="Where to; as it comes, to the byte")] = None,
    statement: Annotated[
        Literal["unlearning", "disposal"],
        typer.Option(help="What was done; or that the old versions are gone"),
    ] = "unlearning",
    bundle: Annotated[
        bool, typer.Option("--bundle", help="All that was signed, of every part: one statement per line")
    ] = False,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Fetch the signed certificate of a request; `lethe verify` checks it."""
    with connected(profile, as_json) as (client, speaker):
        content = (
            client.certificates(_id(request))
            if bundle
            else client.certificate(_id(request), statement=statement)
        )
        keep(content, output, speaker)


def keep(content: bytes, output: Path | None, speaker: Any) -> None:
    """To a file, or as it is to standard output."""
    if output is None:
        typer.get_binary_stream("stdout").write(content + b"\n" * speaker.out.is_terminal)
        return
    output.write_bytes(content)
    speaker.show(
        {"file": str(output), "size": len(content)}, lambda out: out.print(str(output), markup=False)
    )


def show_request(out: Console, request: DeletionRequest) -> None:
    of = f"model {request.model}" if request.model else f"data set {request.dataset}"
    lines = [
        f"{request.id}  {request.status}",
        f"  {of}: {request.instance_count} instances, tasks {', '.join(request.tasks)}",
    ]
    if request.due_at is not None:
        lines.append(f"  due {request.due_at:%Y-%m-%d}")
    if request.result_version is not None:
        lines.append(f"  version {request.result_version} behaves as if it had never learned them")
    if request.error_detail:
        lines.append(f"  {request.error_code}: {request.error_detail}")
    if request.status == "awaiting_approval":
        lines.append(f"  an administrator has to decide: lethe approve {request.id}, or reject")
        lines += [f"  - {reason['detail']}" for reason in (request.approval or {}).get("reasons", [])]
    if request.status == "needs_review":
        lines.append(f"  a person has to decide: lethe jobs show {request.job}")
    out.print("\n".join(lines), markup=False)


def _show_list(out: Console, requests: list[DeletionRequest]) -> None:
    rows = [
        (
            each.id,
            each.status,
            each.model or f"({each.dataset})",
            each.instance_count,
            ", ".join(each.tasks),
            day(each.due_at),
            each.result_version,
        )
        for each in requests
    ]
    columns = ("request", "status", "model", "instances", "tasks", "due", "version")
    show_table(out, columns, rows, "There are no requests.")


def _show_estimate(out: Console, estimate: Estimate) -> None:
    lines = [f"{estimate.instance_count} instances; nothing was written."]
    lines += [
        f"  {each.model}: {each.already_forgotten} forgotten before; {each.method}, {each.passes} passes"
        for each in estimate.models
    ]
    lines += [
        f"  {each.model}: an administrator would have to approve of it: {reason['detail']}"
        for each in estimate.models
        for reason in each.needs_approval
    ]
    out.print("\n".join(lines), markup=False)


def _show_event(out: Console, event: Event) -> None:
    if event.type == "progress":
        done, total, note = (event.data.get(key) for key in ("done", "total", "note"))
        out.print(f"           {note or event.data.get('phase')}: {done} of {total}", markup=False)
    else:
        out.print(f"{event.id:>9}  {event.data.get('at', '')}  {event.type}", markup=False)


def _id(text: str) -> str:
    return identifier(text, "request")


COMMANDS: Commands = {
    "request": request,
    "status": status,
    "watch": watch,
    "cancel": cancel,
    "retry": retry,
    "approve": approve,
    "reject": reject,
    "certificate": certificate,
}
