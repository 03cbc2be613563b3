"""The OpenAPI document is one that a client generator can work with."""

import re
from typing import Any

import httpx
import pytest

from app.core.links import LINKS
from app.core.problems import MEDIA_TYPE
from app.core.settings import Settings
from app.main import create_app
from tests.app.world import World


@pytest.fixture
def document() -> dict[str, Any]:
    settings = Settings(
        database_url="postgresql+psycopg://x",
        broker_url="redis://x",
        storage_url="file:///tmp/lethe-openapi",
        hash_key="0" * 64,
    )
    return create_app(settings).openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


def test_every_operation_is_named_tagged_and_described(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    for method, path, operation in operations(document):
        assert operation["operationId"].isidentifier(), path
        assert operation["tags"], (method, path)
        assert operation["description"], (method, path)


def test_every_call_declares_its_key_and_its_errors(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["APIKey"]["scheme"] == "bearer"
    for method, path, operation in operations(document):
        if not path.startswith("/v1/"):
            continue
        assert operation["security"] == [{"APIKey": []}], path
        declared = operation["responses"]
        wanted = {"401", "403", "429", "500", "503"}
        wanted |= {"404"} if "{" in path else set()
        wanted |= {"400", "413", "422"} if "requestBody" in operation else set()
        wanted |= {"422"} if operation.get("parameters") and method == "get" and "_id}" in path else set()
        assert wanted <= set(declared), (method, path, wanted - set(declared))
        for status, answer in declared.items():
            if int(status) >= 400:
                schema = answer["content"][MEDIA_TYPE]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}, (method, path, status)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert "HTTPValidationError" not in schemas

    def walk(node: object) -> None:
        if isinstance(node, dict):
            if isinstance(target := node.get("$ref"), str):
                place, _, name = target.removeprefix("#/components/").partition("/")
                assert name in document["components"][place], target
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)


@pytest.mark.anyio
async def test_the_examples_work(client: httpx.AsyncClient, world: World, document: dict[str, Any]) -> None:
    """In the order of the journey, with data and models of the names that the examples use."""
    schemas = document["components"]["schemas"]
    world.tenant("acme", "file:///data")
    sent = await client.post("/v1/datasets", json=schemas["NewDataset"]["example"])
    assert sent.status_code == 202, sent.text
    world.ready_dataset(name="ready-digits", instances=["scan-0001", "scan-0002", "scan-0003"])
    model = schemas["NewModel"]["example"]
    assert (
        await client.post("/v1/models", json=model | {"dataset": "ready-digits", "name": "another"})
    ).status_code == 201
    world.ready_model(name=model["name"], dataset="ready-digits")
    request = await client.post("/v1/deletion-requests", json=schemas["NewDeletionRequest"]["example"])
    assert request.status_code == 202, request.text
    alias = await client.put(
        f"/v1/models/{model['name']}/aliases/champion", json=schemas["NewAlias"]["example"] | {"version": 1}
    )
    assert alias.status_code == 200, alias.text
    for path, name, status in (
        ("/v1/instance-lists", "NewInstanceList", 201),
        ("/v1/api-keys", "NewAPIKey", 201),
    ):
        answer = await client.post(path, json=schemas[name]["example"])
        assert answer.status_code == status, answer.text
    lookup = schemas["NewLookup"]["example"]
    assert (await client.post("/v1/lookups", json=lookup)).status_code == 200


def test_whoever_keeps_to_the_pattern_of_names_is_not_refused_for_another(document: dict[str, Any]) -> None:
    """JSON Schema lets through what matches no pattern, unless it is told not to; what reads it does not."""

    def walk(node: object) -> None:
        if isinstance(node, dict):
            assert "patternProperties" not in node or node["additionalProperties"] is False, node
        for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            walk(part)

    walk(document["components"]["schemas"])


def test_every_link_leads_to_a_call_that_takes_what_it_hands_over(document: dict[str, Any]) -> None:
    called = {operation["operationId"]: (path, operation) for _, path, operation in operations(document)}
    links = [
        (source, answer, link)
        for _, source in called.values()
        for answer in source["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert len(links) == sum(map(len, LINKS.values())) > 100
    for source, answer, link in links:
        path, target = called[link["operationId"]]
        taken = {parameter["name"]: parameter for parameter in target.get("parameters", [])}
        handed_over = link.get("parameters", {})
        assert set(handed_over) <= set(taken), link
        # Which alias is moved to a version is up to the caller.
        assert set(re.findall(r"{(\w+)}", path)) <= set(handed_over) | {"alias"}, link
        body = link.get("requestBody", {})
        for field in body:
            assert lies_in(document, sent_by(target), f"/{field}"), (link, field)
        for expression in (*handed_over.values(), *body.values()):
            assert means_something(document, expression, source, answer), (source["operationId"], link)


def means_something(
    document: dict[str, Any], expression: object, source: dict[str, Any], answer: dict[str, Any]
) -> bool:
    if not isinstance(expression, str) or not expression.startswith("$"):
        return True  # a value as it is
    place, _, pointer = expression.partition("#")
    if place == "$response.body":
        return lies_in(document, answer["content"]["application/json"]["schema"], pointer)
    if place == "$request.body":
        return lies_in(document, sent_by(source), pointer)
    named = [("$request", parameter["in"], parameter["name"]) for parameter in source["parameters"]]
    return tuple(expression.split(".", 2)) in named


def sent_by(operation: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
    return schema


def lies_in(document: dict[str, Any], schema: dict[str, Any], pointer: str) -> bool:
    """Whether something of this schema may have a value there."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        return lies_in(document, document["components"]["schemas"][name], pointer)
    if "anyOf" in schema:
        return any(lies_in(document, each, pointer) for each in schema["anyOf"])
    if not pointer:
        return True
    _, first, *rest = pointer.split("/", 2)
    inner = schema.get("items") if first.isdigit() else schema.get("properties", {}).get(first)
    return inner is not None and lies_in(document, inner, "/" + rest[0] if rest else "")
