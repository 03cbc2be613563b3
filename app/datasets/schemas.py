"""Data sets on the wire."""

import uuid
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from app.core.wire import Answer, Moment, Name, Sent

Location = Annotated[str, StringConstraints(min_length=1, max_length=2048, pattern=r"^[^\x00]*$")]


class NewDataset(Sent):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "digits",
                "url": "file:///data/digits/train.npz",
                "holdout_url": "file:///data/digits/holdout.npz",
                "format": "arrays",
            }
        }
    )

    name: Name
    url: Location = Field(description="Where the training data lies, below one of the tenant's allowed roots")
    holdout_url: Location | None = Field(
        None, description="Data the models never trained on; a model cannot be registered without it"
    )
    format: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")] = Field(
        "arrays", description="arrays, nyuv2, cityscapes, or one that the operator has installed"
    )
    refreshes: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="Name or id of the data set that this is a newer snapshot of: rows are gone from it",
    )


class DatasetView(Answer):
    id: uuid.UUID
    name: str
    format: str
    url: str
    holdout_url: str | None
    status: Literal["validating", "ready", "rejected"]
    error_code: str | None = Field(description="Why it was rejected")
    error_detail: str | None
    fingerprint: str | None = Field(description="SHA-256 of the contents, once validated")
    holdout_fingerprint: str | None
    instance_count: int | None
    holdout_count: int | None
    targets: list[Any] | None = Field(description="The targets found in the data")
    refreshes: str | None = Field(None, description="The data set that this is a newer snapshot of")
    created_at: Moment
    job: uuid.UUID | None = Field(description="The newest validation job")
