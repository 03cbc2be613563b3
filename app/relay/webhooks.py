"""The courier's round of webhook deliveries."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session, sessionmaker

from app.relay import deliveries
from app.relay.deliveries import Failure, Room, Taken
from app.relay.parcels import NotPacked, Outcome
from app.webhooks.messages import body_of, signed_headers
from app.webhooks.retrying import pause_after
from app.webhooks.secrets import signing_secrets

GONE = 410


@dataclass(frozen=True)
class WebhookRound:
    sessions: sessionmaker[Session]
    keys: list[bytes]
    room: Room

    def take(self, free: int, lease: float) -> Sequence["WebhookParcel"]:
        found = deliveries.take(self.sessions, self.room, free, lease)
        return [WebhookParcel(self.sessions, self.keys, taken) for taken in found]

    def renew(self, parcels: Sequence["WebhookParcel"], lease: float) -> None:
        deliveries.renew(self.sessions, [parcel.taken for parcel in parcels], lease)


@dataclass(frozen=True)
class WebhookParcel:
    sessions: sessionmaker[Session]
    keys: list[bytes]
    taken: Taken

    @property
    def url(self) -> str:
        return self.taken.url

    @property
    def names(self) -> dict[str, str | int]:
        return {"webhook_id": str(self.taken.endpoint_id), "event_id": self.taken.event.id}

    def pack(self) -> tuple[dict[str, str], bytes]:
        if not self.keys:
            raise NotPacked("no_webhook_key")
        taken, body = self.taken, body_of(self.taken.event)
        secrets = signing_secrets(
            self.keys, taken.endpoint_id, taken.secret_generation, previous=taken.previous
        )
        return signed_headers(taken.event, body, secrets), body

    def settle(self, outcome: Outcome) -> None:
        if outcome.code is None:
            deliveries.delivered(self.sessions, self.taken, outcome.status or 0)
        elif outcome.status == GONE:
            deliveries.gone(self.sessions, self.taken)
        else:
            pause = pause_after(self.taken.attempts + 1)
            deliveries.failed(self.sessions, self.taken, Failure(outcome.code, outcome.status, pause))
