"""API keys on the wire."""

import uuid
from typing import Annotated

from pydantic import ConfigDict, Field

from app.auth.issuing import LONGEST_OVERLAP_HOURS, OVERLAP_HOURS
from app.auth.keys import Scope
from app.core.wire import Answer, Moment, Sent, ShortText


class NewAPIKey(Sent):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {"name": "consent service", "scopes": ["requests:write"], "expires_in_days": 90}
        }
    )

    name: ShortText
    scopes: list[Annotated[Scope, Field(strict=False)]] = Field(min_length=1, max_length=len(Scope))
    models: list[ShortText] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Names or ids of the only models that the key is for: it finds no others, and no "
        "requests or jobs of others. Without it, all of the tenant's, also those registered later",
    )
    expires_in_days: int | None = Field(None, ge=1, le=3650)


class KeyRotation(Sent):
    model_config = ConfigDict(json_schema_extra={"example": {"overlap_hours": 24}})

    overlap_hours: int = Field(
        OVERLAP_HOURS,
        ge=0,
        le=LONGEST_OVERLAP_HOURS,
        description="How long the old key still opens beside the new one; 0: not at all any more",
    )
    expires_in_days: int | None = Field(
        None, ge=1, le=3650, description="Of the new key; without it, for as long as the old one was made for"
    )


class APIKeyView(Answer):
    id: uuid.UUID
    public_id: str
    name: str
    scopes: list[str]
    models: list[str] | None = Field(description="The only models that it is for; null for all")
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    last_used_at: Moment | None = Field(description="To the minute")
    rotated_from: uuid.UUID | None = Field(description="The key that it took the place of")
    made_by: uuid.UUID | None = Field(
        description="The key that made it, which is taken for the same hand for a while; null: the "
        "operator's command, or before this was noted"
    )


class CreatedAPIKey(APIKeyView):
    key: str = Field(description="The key itself. It is shown this once and cannot be shown again.")
