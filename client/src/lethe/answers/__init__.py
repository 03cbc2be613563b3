"""What the service answers, typed. Fields that this client does not know are passed over, so that an older
client goes on working with a newer service; statuses are plain text for the same reason."""

from lethe.answers.audit import AuditEntry, SealedEntry
from lethe.answers.keys import APIKey, CreatedAPIKey, SigningKey
from lethe.answers.lookups import DescendantMemory, InstanceMemory, Lookup, ModelMemory, TaskMemory
from lethe.answers.models import (
    Alias,
    Dataset,
    Destruction,
    DoomedModel,
    Download,
    Hold,
    Model,
    Task,
    Version,
    VersionAudit,
)
from lethe.answers.opendsr import (
    IdentitiesAdded,
    IdentitiesRemoved,
    OpenDSRCancelled,
    OpenDSRCreated,
    OpenDSRStatus,
)
from lethe.answers.requests import (
    DeletionRequest,
    Estimate,
    Event,
    InstanceList,
    Job,
    ModelEstimate,
    Transition,
)
from lethe.answers.service import Health, Readiness
from lethe.answers.webhooks import Delivery, Resent, Webhook, WebhookWithSecret

__all__ = [
    "APIKey",
    "Alias",
    "AuditEntry",
    "CreatedAPIKey",
    "Dataset",
    "DeletionRequest",
    "Delivery",
    "DescendantMemory",
    "Destruction",
    "DoomedModel",
    "Download",
    "Estimate",
    "Event",
    "Health",
    "Hold",
    "IdentitiesAdded",
    "IdentitiesRemoved",
    "InstanceList",
    "InstanceMemory",
    "Job",
    "Lookup",
    "Model",
    "ModelEstimate",
    "ModelMemory",
    "OpenDSRCancelled",
    "OpenDSRCreated",
    "OpenDSRStatus",
    "Readiness",
    "Resent",
    "SealedEntry",
    "SigningKey",
    "Task",
    "TaskMemory",
    "Transition",
    "Version",
    "VersionAudit",
    "Webhook",
    "WebhookWithSecret",
]
