"""Fides asks for an erasure with our connector, and learns when it is done: by polling, and by a callback."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import yaml

import lethe
from integrations.fides.call_back import NotTold, call_back
from tests.acceptance.conftest import Sample, Service, make_sample, register
from tests.acceptance.fides import Connector, FidesError
from tests.client.scripted import ScriptedServer, said

CONNECTORS = Path(__file__).parents[2] / "integrations" / "fides"


@pytest.fixture(scope="module")
def sample(service: Service) -> tuple[str, Sample]:
    name = f"f-{uuid.uuid4().hex[:8]}"
    made = make_sample(service.data / name)
    assert register(service, made, name)["status"] == "ready"
    return name, made


Connect = Callable[..., Connector]


@pytest.fixture
def connect(service: Service) -> Iterator[Connect]:
    with ExitStack() as stack:

        def made(dataset: str, file: str, **secrets: str) -> Connector:
            known = {"api_key": service.key, "dataset": dataset}
            return stack.enter_context(closing(Connector(CONNECTORS / file, known | secrets, service.url)))

        yield made


def test_an_erasure_is_polled_until_it_is_done(
    service: Service, sample: tuple[str, Sample], connect: Connect
) -> None:
    dataset, made = sample
    connector = connect(dataset, "lethe_config.yml", tasks='["colour"]')
    connector.test()
    identity = {"external_id": made.ids[0]}
    [row] = connector.access(identity)
    assert (row["instance"], row["models"][0]["model"]) == (made.ids[0], dataset)
    values = connector.start_erasure(row)
    assert connector.start_erasure(row)["correlation_id"] == values["correlation_id"]  # Fides begins anew
    deadline = time.monotonic() + 120
    while not connector.is_done(values):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    with lethe.Client(service.url, service.key) as client:
        done = client.get_request(values["correlation_id"])
    assert (done.status, done.dataset, done.tasks) == ("succeeded", dataset, ["colour"])
    assert (done.reference, done.regulation) == (connector.privacy_request, "gdpr")
    [row] = connector.access(identity)
    states = {task["task"]: task["state"] for task in row["models"][0]["tasks"]}
    assert states == {"colour": "forgotten", "weight": "learned"}


def test_nobody_else_is_erased(sample: tuple[str, Sample], connect: Connect) -> None:
    dataset, made = sample
    connector = connect(dataset, "lethe_config.yml")
    assert connector.access({"external_id": "nobody"}) == []
    # An identity that ends the string and names another person.
    assert connector.access({"external_id": f'x", "{made.ids[5]}'}) == []
    with pytest.raises(FidesError, match="placeholder"):
        connector.access({"email": "somebody@example.org"})
    with pytest.raises(FidesError, match="401"):
        connect(dataset, "lethe_config.yml", api_key="lethe_wrong").test()


def test_an_erasure_is_answered_by_a_callback(
    service: Service, sample: tuple[str, Sample], connect: Connect
) -> None:
    dataset, made = sample
    connector = connect(dataset, "lethe_callback_config.yml", tasks='["weight"]')
    [row] = connector.access({"external_id": made.ids[1]})
    reply = {"reply_to": "/api/v1/request-task/callback", "reply_to_token": "jwe.of.the.task"}
    connector.start_erasure(row, reply)
    with ScriptedServer(said(200, {})) as fides, lethe.Client(service.url, service.key) as client:
        [request] = client.list_requests(reference=connector.privacy_request)
        assert call_back(client, str(request.id), fides.url).status == "succeeded"
        [heard] = fides.heard
        assert (heard.method, heard.path) == ("POST", reply["reply_to"])
        assert heard.headers["authorization"] == "Bearer jwe.of.the.task"
        assert heard.body == b'{"rows_masked":1}'
        other = client.request_deletion([made.ids[1]], model=dataset, tasks=["weight"])
        with pytest.raises(NotTold, match="not made by Fides"):
            call_back(client, str(other.id), fides.url)


def test_the_data_set_has_what_the_connector_refers_to() -> None:
    [dataset] = yaml.safe_load((CONNECTORS / "lethe_dataset.yml").read_text())["dataset"]
    [collection] = dataset["collections"]
    fields = {field["name"] for field in collection["fields"]}
    for file in ("lethe_config.yml", "lethe_callback_config.yml"):
        config = yaml.safe_load((CONNECTORS / file).read_text())["saas_config"]
        assert config["fides_key"] == dataset["fides_key"] == "<instance_fides_key>"
        [endpoint] = config["endpoints"]
        assert endpoint["name"] == collection["name"]
        for each in endpoint["requests"]["delete"]["param_values"]:
            for reference in each.get("references", ()):
                name, field = reference["field"].split(".")
                assert (name, field in fields) == (collection["name"], True)
