"""What may follow an answer, as OpenAPI Link Objects: calls that read, change or end what the answer names.

A link is called like the operation that it leads to. Its parameters and the fields of its body are runtime
expressions, or values as they are (OpenAPI 3.1, sections 4.8.20 and 4.8.20.4); what else the call needs is up
to the caller.
"""

from typing import Any

Links = dict[str, dict[str, Any]]


def add_links(document: dict[str, Any]) -> None:
    """Raises `KeyError` when an answer of the table is not in the document."""
    operations = {
        operation["operationId"]: operation
        for item in document["paths"].values()
        for operation in item.values()
    }
    for (source, status), links in LINKS.items():
        operations[source]["responses"][str(status)]["links"] = links


def _links(*targets: str, body: dict[str, Any] | None = None, **parameters: str) -> Links:
    link: dict[str, Any] = {"parameters": parameters} if parameters else {}
    if body is not None:
        link["requestBody"] = body
    return {target: {"operationId": target} | link for target in targets}


def _answer(pointer: str) -> str:
    return f"$response.body#{pointer}"


# The model that the call itself was about.
_ITS_MODEL = "$request.path.model"


def _dataset(name: str) -> Links:
    expression = _answer(name)
    return (
        _links("get_dataset", "add_identities", "remove_identities", dataset=expression)
        | _links("register_model", "look_up_instances", body={"dataset": expression})
        | _links("register_dataset", body={"refreshes": expression})
        | _links("create_deletion_request", body={"dataset": expression, "model": None, "tasks": "all"})
    )


def _model(name: str) -> Links:
    expression = _answer(name)
    return _links(
        "get_model",
        "list_versions",
        "list_aliases",
        "upload_checkpoint",
        "refresh_data",
        "change_retention",
        "place_hold",
        "list_holds",
        "destroy_model",
        "list_jobs",
        "list_deletion_requests",
        model=expression,
    ) | _links("create_deletion_request", body={"model": expression, "dataset": None, "tasks": "all"})


def _version(number: str) -> Links:
    """By its number, or by an alias. The model is that of the call."""
    return _links(
        "get_version",
        "download_checkpoint",
        "describe_checkpoint",
        "get_signature",
        "list_version_audits",
        model=_ITS_MODEL,
        version=_answer(number),
    )


def _numbered_version(number: str) -> Links:
    expression = _answer(number)
    return (
        _version(number)
        | _links("release_version", model=_ITS_MODEL, version=expression)
        | _links("place_hold", "move_alias", model=_ITS_MODEL, body={"version": expression})
    )


def _request(id: str) -> Links:
    return _links(
        "get_deletion_request",
        "follow_deletion_request",
        "cancel_deletion_request",
        "retry_deletion_request",
        "approve_deletion_request",
        "reject_deletion_request",
        "acknowledge_deletion_request",
        "extend_deletion_request",
        "get_certificate",
        "get_certificates",
        request_id=_answer(id),
    )


def _job(id: str) -> Links:
    return _links(
        "get_job", "follow_job", "cancel_job", "approve_job", "reject_job", "retry_job", job_id=_answer(id)
    )


def _api_key(id: str) -> Links:
    return _links("rotate_api_key", "revoke_api_key", key_id=_answer(id))


def _webhook(id: str) -> Links:
    return _links(
        "get_webhook",
        "change_webhook",
        "rotate_webhook_secret",
        "ping_webhook",
        "list_webhook_deliveries",
        "resend_dead_letters",
        "delete_webhook",
        webhook_id=_answer(id),
    )


def _delivery(event: str) -> Links:
    webhook = "$request.path.webhook_id"
    return _links("resend_webhook_delivery", webhook_id=webhook, event_id=_answer(event))


_INSTANCE_LIST = _links("get_instance_list", "delete_instance_list", list_id=_answer("/id")) | _links(
    "create_deletion_request", body={"instance_list": _answer("/id"), "instances": None, "tasks": "all"}
)
_LOOKED_UP = _links(
    "create_deletion_request",
    body={
        "dataset": "$request.body#/dataset",
        "model": None,
        "instances": "$request.body#/instances",
        "instance_list": None,
        "tasks": "all",
    },
) | _links("get_model", model=_answer("/data/0/models/0/model"))
_HELD = _links("list_holds", model=_ITS_MODEL)
_DESTRUCTION = _links(
    "destroy_model", model=_ITS_MODEL, body={"confirmation": _answer("/confirmation")}
) | _links("get_model", "list_versions", model=_ITS_MODEL)
_ITS_SUBJECT_REQUEST = _answer("/subject_request_id")
_DISCOVERED = {
    "api_version": _answer("/api_version"),
    "subject_request_type": _answer("/supported_subject_request_types/0"),
}

# (Operation, status) -> what may follow that answer. Of a list, its first item is followed.
LINKS: dict[tuple[str, int], Links] = {
    ("register_dataset", 202): _dataset("/name") | _job("/job"),
    ("register_dataset", 200): _dataset("/name"),
    ("list_datasets", 200): _dataset("/data/0/name"),
    ("register_model", 201): _model("/name") | _links("get_dataset", dataset=_answer("/dataset")),
    ("list_models", 200): _model("/data/0/name"),
    ("upload_checkpoint", 202): _version("/number") | _job("/job"),
    ("list_versions", 200): _numbered_version("/data/0/number"),
    ("list_aliases", 200): _version("/data/0/name")
    | _links("move_alias", model=_ITS_MODEL, alias=_answer("/data/0/name")),
    ("move_alias", 200): _version("/name") | _links("list_aliases", model=_ITS_MODEL),
    ("list_version_audits", 200): _links(
        "get_version_audit",
        model=_ITS_MODEL,
        version="$request.path.version",
        audit_id=_answer("/data/0/id"),
    ),
    ("place_hold", 201): _HELD | _links("lift_hold", model=_ITS_MODEL, hold_id=_answer("/id")),
    ("list_holds", 200): _links("lift_hold", model=_ITS_MODEL, hold_id=_answer("/data/0/id")),
    ("destroy_model", 200): _DESTRUCTION,
    ("create_instance_list", 201): _INSTANCE_LIST,
    ("look_up_instances", 200): _LOOKED_UP,
    ("create_deletion_request", 202): _request("/id") | _job("/job"),
    ("create_deletion_request", 200): _request("/id"),
    ("list_deletion_requests", 200): _request("/data/0/id"),
    ("list_jobs", 200): _job("/data/0/id"),
    ("get_job", 200): _request("/requests/0"),
    ("retry_job", 202): _job("/id"),
    ("create_api_key", 201): _api_key("/id"),
    ("rotate_api_key", 201): _api_key("/id"),
    ("list_api_keys", 200): _api_key("/data/0/id"),
    ("create_webhook", 201): _webhook("/id"),
    ("list_webhooks", 200): _webhook("/data/0/id"),
    ("ping_webhook", 202): _delivery("/event"),
    ("list_webhook_deliveries", 200): _delivery("/data/0/event"),
    ("discover", 200): _links("create_opendsr_request", body=_DISCOVERED),
    ("stub_discover", 200): _links("stub_create_opendsr_request", body=_DISCOVERED),
    ("create_opendsr_request", 201): _links(
        "get_opendsr_request", "cancel_opendsr_request", subject_request_id=_ITS_SUBJECT_REQUEST
    ),
    ("stub_create_opendsr_request", 201): _links(
        "stub_get_opendsr_request",
        "stub_cancel_opendsr_request",
        "advance_opendsr_stub",
        subject_request_id=_ITS_SUBJECT_REQUEST,
    ),
}
