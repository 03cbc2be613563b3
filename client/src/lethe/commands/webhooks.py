"""webhooks: endpoints that are told of events, and what became of what they were sent."""

from typing import Annotated, Literal

import typer
from rich.console import Console

from lethe.answers import Delivery, Webhook, WebhookWithSecret
from lethe.commands.speaking import (
    AsJson,
    Commands,
    Most,
    Profile,
    Speaker,
    connected,
    identifier,
    show_table,
)

HELP = "Webhooks of your tenant (scope admin)."
WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id")]
Event = Annotated[
    list[str] | None, typer.Option(help="request.succeeded, job.*, …; may be repeated [default: all]")
]


def list_webhooks(most: Most = 20, profile: Profile = None, as_json: AsJson = False) -> None:
    """The newest first, and how many of their deliveries wait or were given up."""
    with connected(profile, as_json) as (client, speaker):
        listed = client.list_webhooks(most=most)
        speaker.show({"data": listed}, lambda out: _show(out, listed))


def create(
    url: Annotated[str, typer.Argument(help="Where to; https, on the public internet")],
    event: Event = None,
    description: Annotated[str | None, typer.Option(help="Your own words")] = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Have events posted to a URL. The secret that signs them is written to standard output, this once."""
    with connected(profile, as_json) as (client, speaker):
        made = client.create_webhook(url, events=event or ["*"], description=description)
        _hand_over(made, speaker)


def change(
    webhook: WebhookId,
    url: Annotated[str | None, typer.Option(help="Another address")] = None,
    event: Event = None,
    description: Annotated[str | None, typer.Option(help="Your own words")] = None,
    enable: Annotated[
        bool | None, typer.Option("--enable/--hold-back", help="Go on with it, or hold deliveries back")
    ] = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Change where or of what it is told. What is not named stays as it is."""
    with connected(profile, as_json) as (client, speaker):
        found = client.change_webhook(
            _id(webhook), url=url, events=event, description=description, enabled=enable
        )
        speaker.show(found, lambda out: _show(out, [found]))


def delete(webhook: WebhookId, profile: Profile = None, as_json: AsJson = False) -> None:
    """Tell it nothing any more. What waits for it is dropped."""
    with connected(profile, as_json) as (client, speaker):
        client.delete_webhook(_id(webhook))
        speaker.show({"deleted": _id(webhook)}, lambda out: out.print("It is gone."))


def rotate_secret(
    webhook: WebhookId,
    previous_signs_hours: Annotated[
        float | None, typer.Option(min=0, help="How long the old one signs too; 0 when it has leaked")
    ] = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """A new secret, written to standard output, this once."""
    with connected(profile, as_json) as (client, speaker):
        made = client.rotate_webhook_secret(_id(webhook), previous_signs_hours=previous_signs_hours)
        _hand_over(made, speaker)


def send_test(webhook: WebhookId, profile: Profile = None, as_json: AsJson = False) -> None:
    """Send it an event webhook.ping; `deliveries` says what came of it."""
    with connected(profile, as_json) as (client, speaker):
        sent = client.ping_webhook(_id(webhook))
        speaker.show(sent, lambda out: _show_deliveries(out, [sent]))


def deliveries(
    webhook: WebhookId,
    status: Annotated[
        Literal["pending", "delivered", "dead"] | None, typer.Option(help="dead: those that were given up")
    ] = None,
    most: Most = 20,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """What was sent, waits, or was given up; the newest first."""
    with connected(profile, as_json) as (client, speaker):
        listed = client.list_deliveries(_id(webhook), status=status, most=most)
        speaker.show({"data": listed}, lambda out: _show_deliveries(out, listed))


def resend(
    webhook: WebhookId,
    event: Annotated[int | None, typer.Argument(metavar="[EVENT]", help="One; or all that are dead")] = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Send one delivery again, or all that were given up."""
    with connected(profile, as_json) as (client, speaker):
        if event is not None:
            sent = client.resend_delivery(_id(webhook), event)
            speaker.show(sent, lambda out: _show_deliveries(out, [sent]))
            return
        found = client.resend_dead_letters(_id(webhook))
        speaker.show(found, lambda out: out.print(f"{found.resent} are sent again."))


def _hand_over(made: WebhookWithSecret, speaker: Speaker) -> None:
    speaker.show(made, lambda out: out.print(made.secret, markup=False))
    if not speaker.as_json:
        said = f"Keep it: it is shown this once. The webhook's id is {made.id}."
        speaker.err.print(said, markup=False, soft_wrap=True)


def _show(out: Console, webhooks: list[Webhook]) -> None:
    rows = [
        (
            each.id,
            each.url,
            ", ".join(each.events),
            "enabled" if each.enabled else f"disabled ({each.disabled_reason})",
            each.pending,
            each.dead,
        )
        for each in webhooks
    ]
    show_table(out, ("id", "url", "events", "state", "wait", "dead"), rows, "There are no webhooks.")


def _show_deliveries(out: Console, deliveries: list[Delivery]) -> None:
    rows = [
        (each.event, each.type, each.status, each.attempts, each.last_status, each.last_error)
        for each in deliveries
    ]
    columns = ("event", "type", "status", "attempts", "answered", "why not")
    show_table(out, columns, rows, "There are none.")


def _id(text: str) -> str:
    return identifier(text, "webhook")


COMMANDS: Commands = {
    "list": list_webhooks,
    "create": create,
    "change": change,
    "delete": delete,
    "rotate-secret": rotate_secret,
    "test": send_test,
    "deliveries": deliveries,
    "resend": resend,
}
