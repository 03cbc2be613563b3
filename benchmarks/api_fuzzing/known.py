"""A tenant that has one of everything, so that what is thrown at the API does not only meet `not found`."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from tests.app.world import World
from worker.audit.storing import store_report

# The names of the document's examples: whoever sends one of those is to find what it names.
DATASET = "digits"
MODELS = ("digit-reader", *(f"digit-reader-{number}" for number in range(1, 12)))
INSTANCES = [f"scan-{number:04}" for number in range(400)]


@dataclass
class Known:
    """What calls may name: by the parameter or field that names it."""

    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, place: str, *values: object) -> None:
        self.names.setdefault(place, []).extend(str(value) for value in values)


def furnish(world: World, url: str, key: str) -> Known:
    known = Known()
    world.tenant("acme", "file:///data")
    world.ready_dataset(name=DATASET, instances=INSTANCES)
    known.add("dataset", DATASET)
    known.add("model", *MODELS)
    for name in MODELS:
        _with_line(world, world.ready_model(name=name, dataset=DATASET))
    known.add("version", 1, 2, "latest")
    known.add("alias", "champion", "latest")
    known.add("instance", *INSTANCES[:40])
    known.add("task", "digit", "parity")
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client:
        _requests_and_jobs(world, client, known)
        _others(world, client, known)
    return known


def _with_line(world: World, model: uuid.UUID) -> None:
    first = world.run("SELECT head_version_id FROM registered_models WHERE id = :m", m=model)
    world.run("UPDATE model_versions SET state = 'superseded' WHERE id = :v", v=first)
    report = {"requests": [], "tasks": {}}
    second = world.version(model, 2, "published", parent=first, checkpoint=b"second", report=report)
    world.run("UPDATE registered_models SET head_version_id = :v WHERE id = :m", v=second, m=model)
    world.run("UPDATE aliases SET version_id = :v WHERE registered_model_id = :m", v=second, m=model)


def _requests_and_jobs(world: World, client: httpx.Client, known: Known) -> None:
    world.run("UPDATE tenants SET instances_per_day = 0 WHERE id = :t", t=world.tenant())
    for number in range(3):
        sent = {"model": MODELS[0], "instances": [INSTANCES[210 + number]], "tasks": "all"}
        known.add("request_id", _posted(client, "/v1/deletion-requests", sent)["id"])
    world.run("UPDATE tenants SET instances_per_day = NULL WHERE id = :t", t=world.tenant())
    ends = ("queued", "running", "failed", "needs_review", "succeeded")
    for number, end in enumerate(ends):
        sent = {"instances": [INSTANCES[100 + number]], "tasks": "all", "regulation": "gdpr"}
        made = _posted(client, "/v1/deletion-requests", sent | {"model": MODELS[number]})
        known.add("request_id", made["id"])
        known.add("job_id", made["job"])
        if end == "queued":
            continue
        world.claim(made["job"])
        if end == "succeeded":
            world.publish(made["job"])
        elif end != "running":
            world.move_requests(made["job"], end)
            world.finish(made["job"], end)
    of_all = _posted(
        client, "/v1/deletion-requests", {"dataset": DATASET, "instances": [INSTANCES[200]], "tasks": "all"}
    )
    known.add("request_id", of_all["id"])


def _others(world: World, client: httpx.Client, known: Known) -> None:
    for number in range(3):
        made = _posted(client, "/v1/instance-lists", {"instances": [INSTANCES[number]]})
        known.add("list_id", made["id"])
        made = _posted(client, "/v1/webhooks", {"url": f"https://receiver-{number}.example.com/x"})
        known.add("webhook_id", made["id"])
        delivery = _posted(client, f"/v1/webhooks/{made['id']}/ping", None)
        known.add("event_id", delivery["event"])
        made = _posted(client, "/v1/api-keys", {"name": "spare", "scopes": ["requests:read"]})
        known.add("key_id", made["id"])
        hold = _posted(client, f"/v1/models/{MODELS[number]}/holds", {"reason": "a case"})
        known.add("hold_id", hold["id"])
    version = world.run("SELECT id FROM model_versions WHERE number = 2 LIMIT 1")
    worker = create_engine(world.settings.worker_database_url.get_secret_value())
    with Session(worker) as session, session.begin():
        known.add("audit_id", store_report(session, version, {"findings": ["nothing was seen"]}))
    worker.dispose()
    identity = {"identity_type": "email", "identity_value": "johndoe@example.com"}
    table = {"identities": [identity | {"instances": [INSTANCES[300]]}]}
    _posted(client, f"/v1/datasets/{DATASET}/identities", table)
    for door in ("", "/stub"):
        sent = {
            "regulation": "gdpr",
            "subject_request_id": str(uuid.uuid4()),
            "subject_request_type": "erasure",
            "submitted_time": datetime.now(UTC).isoformat(),
            "subject_identities": [identity | {"identity_format": "raw"}],
        }
        _posted(client, f"/opendsr/v2{door}/opendsr_requests", sent)
        known.add("subject_request_id", sent["subject_request_id"])


def _posted(client: httpx.Client, path: str, body: object) -> dict[str, object]:
    answer = client.post(path, json=body) if body is not None else client.post(path)
    answer.raise_for_status()
    made: dict[str, object] = answer.json()
    return made
