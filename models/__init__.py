"""The tables, shared by `app` and `worker`. One table family per file; no queries, no decisions."""

from models.artifact import Artifact
from models.audit import AuditCheckpoint, AuditEntry, AuditSeal, UnsealedAuditEntry
from models.base import Base, time_ordered_id
from models.certificate import Certificate, SigningKey
from models.dataset import Dataset, DatasetInstance
from models.deletion_request import (
    DeletionRequest,
    DeletionRequestItem,
    ForgottenSupervision,
    InstanceList,
    InstanceListItem,
)
from models.event import Event
from models.idempotency import IdempotencyKey
from models.job import Attempt, Job, JobKind, Phase
from models.legal_hold import LegalHold
from models.opendsr import IdentityInstance, OpenDSRCallback, OpenDSRRequest
from models.outbox import OutboxMessage
from models.registered_model import Alias, FormerDataset, ModelTask, ModelVersion, RegisteredModel
from models.rules import STATE_TRANSITIONS
from models.tenant import APIKey, Tenant
from models.webhook import WebhookDelivery, WebhookEndpoint

__all__ = [
    "STATE_TRANSITIONS",
    "APIKey",
    "Alias",
    "Artifact",
    "Attempt",
    "AuditCheckpoint",
    "AuditEntry",
    "AuditSeal",
    "Base",
    "Certificate",
    "Dataset",
    "DatasetInstance",
    "DeletionRequest",
    "DeletionRequestItem",
    "Event",
    "ForgottenSupervision",
    "FormerDataset",
    "IdempotencyKey",
    "IdentityInstance",
    "InstanceList",
    "InstanceListItem",
    "Job",
    "JobKind",
    "LegalHold",
    "ModelTask",
    "ModelVersion",
    "OpenDSRCallback",
    "OpenDSRRequest",
    "OutboxMessage",
    "Phase",
    "RegisteredModel",
    "SigningKey",
    "Tenant",
    "UnsealedAuditEntry",
    "WebhookDelivery",
    "WebhookEndpoint",
    "time_ordered_id",
]
