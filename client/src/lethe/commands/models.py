"""models: what is registered, by which policy it forgets, how long versions stay, and destruction."""

from typing import Annotated, Any

import typer
from rich.console import Console

from lethe.answers import Destruction, Model
from lethe.commands.speaking import AsJson, Commands, Most, Profile, Reason, connected, show_table
from lethe.commands.versions import ModelName

HELP = "Registered models."


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


COMMANDS: Commands = {"list": list_models, "show": show, "retention": retention, "destroy": destroy}
