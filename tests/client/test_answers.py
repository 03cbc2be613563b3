"""The client's types are the service's: nothing is looked for that is not sent, and nothing sent is lost."""

from typing import Any

import msgspec
import pytest

from app.core.settings import Settings
from app.main import create_app
from lethe import answers

SCHEMAS: dict[type[msgspec.Struct], str] = {
    answers.APIKey: "APIKeyView",
    answers.Alias: "AliasView",
    answers.AuditEntry: "AuditEntryView",
    answers.CreatedAPIKey: "CreatedAPIKey",
    answers.Dataset: "DatasetView",
    answers.DeletionRequest: "DeletionRequestView",
    answers.Delivery: "DeliveryView",
    answers.DescendantMemory: "DescendantMemory",
    answers.Destruction: "Destruction",
    answers.DoomedModel: "DoomedModel",
    answers.Estimate: "Estimate",
    answers.Health: "Health",
    answers.Hold: "HoldView",
    answers.IdentitiesAdded: "IdentitiesAdded",
    answers.IdentitiesRemoved: "IdentitiesRemoved",
    answers.InstanceList: "InstanceListView",
    answers.InstanceMemory: "InstanceMemory",
    answers.Job: "JobView",
    answers.Lookup: "Lookup",
    answers.Model: "ModelView",
    answers.ModelEstimate: "ModelEstimate",
    answers.ModelMemory: "ModelMemory",
    answers.OpenDSRCancelled: "Cancelled",
    answers.OpenDSRCreated: "Created",
    answers.OpenDSRStatus: "Told",
    answers.Readiness: "Readiness",
    answers.Resent: "Resent",
    answers.SealedEntry: "SealedEntryView",
    answers.SigningKey: "SigningKeyView",
    answers.Task: "TaskView",
    answers.TaskMemory: "TaskMemory",
    answers.Transition: "Transition",
    answers.Version: "VersionView",
    answers.VersionAudit: "AuditReportView",
    answers.Webhook: "WebhookView",
    answers.WebhookWithSecret: "WebhookWithSecret",
}
# Made by the client itself.
OWN = {"Download", "Event"}


@pytest.fixture
def schemas(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = create_app(settings).openapi()["components"]["schemas"]
    return found


def test_fields_agree_with_the_service(schemas: dict[str, Any]) -> None:
    assert {kind.__name__ for kind in SCHEMAS} | OWN == set(answers.__all__)
    for kind, name in SCHEMAS.items():
        sent = schemas[name]
        assert set(sent["properties"]) == {field.name for field in msgspec.structs.fields(kind)}, name
        for field in msgspec.structs.fields(kind):
            if field.required:
                assert field.name in sent["required"], (name, field.name)
        optional = {field.name for field in msgspec.structs.fields(kind) if not field.required}
        for field_name, described in sent["properties"].items():
            if any(choice.get("type") == "null" for choice in described.get("anyOf", ())):
                assert field_name in optional, (name, field_name)
