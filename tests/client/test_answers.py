"""The client's types are the service's: nothing is looked for that is not sent."""

from typing import Any

import msgspec
import pytest

from app.core.settings import Settings
from app.main import create_app
from lethe import answers

SCHEMAS: dict[type[msgspec.Struct], str] = {
    answers.Alias: "AliasView",
    answers.Dataset: "DatasetView",
    answers.DeletionRequest: "DeletionRequestView",
    answers.Estimate: "Estimate",
    answers.InstanceList: "InstanceListView",
    answers.InstanceMemory: "InstanceMemory",
    answers.Job: "JobView",
    answers.Lookup: "Lookup",
    answers.Model: "ModelView",
    answers.ModelEstimate: "ModelEstimate",
    answers.ModelMemory: "ModelMemory",
    answers.SigningKey: "SigningKeyView",
    answers.Task: "TaskView",
    answers.TaskMemory: "TaskMemory",
    answers.Transition: "Transition",
    answers.Version: "VersionView",
}


@pytest.fixture
def schemas(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = create_app(settings).openapi()["components"]["schemas"]
    return found


def test_fields_agree_with_the_service(schemas: dict[str, Any]) -> None:
    for kind, name in SCHEMAS.items():
        sent = schemas[name]
        for field in msgspec.structs.fields(kind):
            assert field.name in sent["properties"], (name, field.name)
            if field.required:
                assert field.name in sent["required"], (name, field.name)
        optional = {field.name for field in msgspec.structs.fields(kind) if not field.required}
        for field_name, described in sent["properties"].items():
            if any(choice.get("type") == "null" for choice in described.get("anyOf", ())):
                assert field_name in optional, (name, field_name)
