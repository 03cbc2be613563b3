"""models: registering them, by which policy they forget, how long versions stay, and destruction."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from lethe.answers import Destruction, Model
from lethe.commands.reading import read_json
from lethe.commands.speaking import (
    AsJson,
    Commands,
    Most,
    Profile,
    Reason,
    connected,
    end_registered,
    show_table,
)
from lethe.commands.versions import ModelName
from lethe.errors import Conflict

HELP = "Registered models."


def register(
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON as POST /v1/models takes it: network, tasks, recipe, …; - for standard input"
        ),
    ],
    checkpoint: Annotated[
        Path | None, typer.Option(help="Its weights (safetensors), which become version 1")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until it was checked")] = False,
    timeout: Annotated[float | None, typer.Option(help="With --wait: seconds at most")] = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Register a model, and send its weights (scope models:write). Run again, it goes on where it stopped."""
    body = _read(file)
    with connected(profile, as_json) as (client, speaker):
        try:
            made = client.register_model(**body)
        except Conflict as conflict:
            if conflict.code != "model_exists" or checkpoint is None:
                raise
            made = client.get_model(str(body["name"]))
            if made.status not in ("awaiting_checkpoint", "rejected"):
                raise
        if checkpoint is not None:
            client.upload_checkpoint(made.name, checkpoint)
            made = client.get_model(made.name)
        if wait:
            made = client.wait_for_model(made.name, timeout=timeout)
        speaker.show(made, lambda out: _show(out, made))
        end_registered(made.status)


def list_models(most: Most = 20, profile: Profile = None, as_json: AsJson = False) -> None:
    """The newest first."""
    with connected(profile, as_json) as (client, speaker):
        listed = client.list_models(most=most)
        speaker.show({"data": listed}, lambda out: _show_list(out, listed))


def show(model: ModelName, profile: Profile = None, as_json: AsJson = False) -> None:
    """A model, its tasks, and the policy that it forgets by."""
    with connected(profile, as_json) as (client, speaker):
        found = client.get_model(model)
        speaker.show(found, lambda out: _show(out, found))


def retention(
    model: ModelName,
    quarantine_after: Annotated[
        str, typer.Option(help="Days until a superseded version is withdrawn, or never")
    ],
    delete_after: Annotated[str, typer.Option(help="Days from then until its bytes are deleted, or never")],
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """How long superseded versions, which still remember, stay (scope admin)."""
    clock = {"quarantine_after": _days(quarantine_after), "delete_after": _days(delete_after)}
    with connected(profile, as_json) as (client, speaker):
        found = client.change_retention(model, **clock)
        speaker.show(found, lambda out: _show(out, found))


def destroy(
    model: ModelName,
    reason: Reason,
    confirmation: Annotated[
        str | None, typer.Option(help="From the first call, which says what would go and destroys nothing")
    ] = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Destroy a model and all that was fine-tuned from it, for good: say it twice (scope admin)."""
    with connected(profile, as_json) as (client, speaker):
        found = client.destroy_model(model, reason=reason, confirmation=confirmation)
        speaker.show(found, lambda out: _show_destruction(out, found))


def _read(file: Path) -> dict[str, Any]:
    """Raises `BadParameter`."""
    known = ("name", "dataset", "network", "tasks", "recipe", "policy", "checkpoint_url", "derived_from")
    body = read_json(file, dict)
    if not {"name", "dataset", "network", "tasks", "recipe"} <= set(body):
        raise typer.BadParameter(f"{file} has to be an object with name, dataset, network, tasks and recipe")
    if strange := sorted(set(body) - set(known)):
        raise typer.BadParameter(f"{file}: {strange[0]!r} is not one of {', '.join(known)}")
    if isinstance(origin := body.get("derived_from"), dict):
        body["derived_from"] = (origin.get("model"), origin.get("version"))
    return body


def _days(text: str) -> float | None:
    try:
        return None if text == "never" else float(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither a number of days nor never") from error


def _show_list(out: Console, models: list[Model]) -> None:
    rows = [
        (
            each.name,
            each.status,
            each.dataset,
            ", ".join(task.name for task in each.tasks),
            each.latest_version,
        )
        for each in models
    ]
    show_table(out, ("model", "status", "data set", "tasks", "latest"), rows, "There are no models.")


def _show(out: Console, model: Model) -> None:
    lines = [f"{model.name}  {model.status}", f"  data set {model.dataset}, version {model.latest_version}"]
    if model.error_detail:
        lines.append(f"  {model.error_code}: {model.error_detail}")
    lines += [f"  task {task.name} ({task.kind}): {task.remaining} instances" for task in model.tasks]
    lines += [f"  {name}: {_words(value)}" for name, value in model.policy.items()]
    out.print("\n".join(lines), markup=False)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return "none" if value is None else str(value)


def _show_destruction(out: Console, found: Destruction) -> None:
    rows = [(each.model, each.versions, each.open_requests) for each in found.models]
    show_table(out, ("model", "versions", "open requests"), rows, "There is nothing.")
    if found.confirmation is None:
        out.print("They are destroyed.")
        return
    out.print("Nothing was destroyed yet. To destroy these for good, say it again within 15 minutes with")
    out.print(f"--confirmation {found.confirmation}", markup=False)


COMMANDS: Commands = {
    "register": register,
    "list": list_models,
    "show": show,
    "retention": retention,
    "destroy": destroy,
}
