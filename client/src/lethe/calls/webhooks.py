"""Webhooks, for administrators. docs/webhooks.md says what their receivers are sent."""

from collections.abc import Sequence
from uuid import UUID

from lethe.answers import Delivery, Resent, Webhook, WebhookWithSecret
from lethe.calls.listing import Page, all_of
from lethe.plan import Exchange, Outgoing, Plan, ask, call

WEBHOOKS = "/v1/webhooks"


def create_webhook(
    url: str, *, events: Sequence[str] = ("*",), description: str | None = None
) -> Plan[WebhookWithSecret]:
    """Have events posted to a URL of yours. The `secret` is in this answer only: keep it at once."""
    body = {"url": url, "events": list(events), "description": description}
    return call("POST", WEBHOOKS, WebhookWithSecret, body, repeatable=False)


def list_webhooks(*, most: int = 100) -> Plan[list[Webhook]]:
    """The newest first, without their secrets."""
    return all_of(WEBHOOKS, Page[Webhook], most)


def get_webhook(webhook: UUID | str) -> Plan[Webhook]:
    """One webhook, and how many of its deliveries wait or were given up."""
    return call("GET", _path(webhook), Webhook)


def change_webhook(
    webhook: UUID | str,
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
) -> Plan[Webhook]:
    """What is left out stays as it is. `enabled`: False holds deliveries back."""
    given = {"url": url, "events": events, "description": description, "enabled": enabled}
    body = {name: value for name, value in given.items() if value is not None}
    return call("PATCH", _path(webhook), Webhook, body)


def delete_webhook(webhook: UUID | str) -> Plan[None]:
    """Tell it nothing any more. What waits for it is dropped."""
    yield from ask(Exchange(Outgoing("DELETE", _path(webhook))))


def rotate_webhook_secret(
    webhook: UUID | str, *, previous_signs_hours: float | None = None
) -> Plan[WebhookWithSecret]:
    """A new secret. The old one signs too for so many hours: 0 when it has leaked."""
    body = {"previous_signs_hours": previous_signs_hours}
    return call("POST", f"{_path(webhook)}/rotate-secret", WebhookWithSecret, body, repeatable=False)


def ping_webhook(webhook: UUID | str) -> Plan[Delivery]:
    """Send it an event `webhook.ping`; `list_deliveries` says what came of it."""
    return call("POST", f"{_path(webhook)}/ping", Delivery, repeatable=False)


def list_deliveries(
    webhook: UUID | str, *, status: str | None = None, most: int = 100
) -> Plan[list[Delivery]]:
    """The newest first. `status`: pending, delivered, or dead (given up)."""
    return all_of(f"{_path(webhook)}/deliveries", Page[Delivery], most, place="event", status=status)


def resend_delivery(webhook: UUID | str, event: int) -> Plan[Delivery]:
    """Send one again that was given up, or delivered."""
    return call("POST", f"{_path(webhook)}/deliveries/{event}/resend", Delivery, repeatable=False)


def resend_dead_letters(webhook: UUID | str) -> Plan[Resent]:
    """Send everything again that was given up."""
    return call("POST", f"{_path(webhook)}/resend", Resent)


def _path(webhook: UUID | str) -> str:
    return f"{WEBHOOKS}/{UUID(str(webhook))}"
