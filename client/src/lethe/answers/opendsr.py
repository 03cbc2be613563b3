"""OpenDSR, as its specification calls things."""

from msgspec import Struct


class OpenDSRCreated(Struct, frozen=True, kw_only=True):
    """`encoded_request`: the body as the service received it, in base64."""

    controller_id: str
    subject_request_id: str
    api_version: str
    expected_completion_time: str
    received_time: str
    encoded_request: str


class OpenDSRStatus(Struct, frozen=True, kw_only=True):
    """`request_status`: pending, in_progress, completed or cancelled."""

    controller_id: str
    subject_request_id: str
    api_version: str
    expected_completion_time: str
    request_status: str
    results_url: str | None = None
    results_count: int


class OpenDSRCancelled(Struct, frozen=True, kw_only=True):
    controller_id: str
    subject_request_id: str
    api_version: str
    received_time: str


class IdentitiesAdded(Struct, frozen=True, kw_only=True):
    added: int


class IdentitiesRemoved(Struct, frozen=True, kw_only=True):
    removed: int
