"""A progress bar on standard error while a request runs."""

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from lethe.answers import DeletionRequest
from lethe.client import Client
from lethe.commands.speaking import Speaker


def follow(
    client: Client, speaker: Speaker, request: DeletionRequest, timeout: float | None
) -> DeletionRequest:
    """Until it has ended or waits for a person. Raises `StillRunning`."""
    if speaker.as_json or request.is_settled or timeout is not None:
        return client.wait(request, timeout=timeout)
    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=speaker.err) as bar:
        line = bar.add_task(request.status, total=None)
        for event in client.events(request.id):
            if event.type == "progress":
                bar.update(
                    line,
                    description=str(event.data.get("phase") or event.data.get("note") or "running"),
                    completed=event.data.get("done"),
                    total=event.data.get("total"),
                )
            else:
                bar.update(line, description=event.type.rpartition(".")[2])
            if event.type.endswith((".needs_review", ".awaiting_approval")):
                break
        done = client.wait(request)
        if done.status == "succeeded":
            bar.update(line, completed=1, total=1)
        return done
