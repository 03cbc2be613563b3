"""Lists of instances on the wire."""

import uuid

from pydantic import ConfigDict, Field

from app.core.wire import Answer, InstanceId, Moment, Sent


class NewInstanceList(Sent):
    model_config = ConfigDict(json_schema_extra={"example": {"instances": ["scan-0001", "scan-0002"]}})

    instances: list[InstanceId] = Field(
        min_length=1, description="Ids as in the data set's ids; integers stand for their decimal text"
    )


class InstanceListView(Answer):
    id: uuid.UUID
    instance_count: int
    created_at: Moment
