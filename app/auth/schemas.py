"""API keys on the wire."""

import uuid
from typing import Annotated

from pydantic import ConfigDict, Field

from app.auth.keys import Scope
from app.core.wire import Answer, Moment, Sent, ShortText


class NewAPIKey(Sent):
    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "consent service", "scopes": ["requests:write"]}}
    )

    name: ShortText
    scopes: list[Annotated[Scope, Field(strict=False)]] = Field(min_length=1, max_length=len(Scope))
    expires_in_days: int | None = Field(None, ge=1, le=3650)


class APIKeyView(Answer):
    id: uuid.UUID
    public_id: str
    name: str
    scopes: list[str]
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    last_used_at: Moment | None


class CreatedAPIKey(APIKeyView):
    key: str = Field(description="The key itself. It is shown this once and cannot be shown again.")
