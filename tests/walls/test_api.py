"""What the OpenAPI document promises, the API keeps: no 5xx, no undeclared status, no nonsense accepted."""

from collections.abc import Mapping
from pathlib import Path

from app.main import document
from benchmarks.api_fuzzing.stage import on_stage
from benchmarks.api_fuzzing.throwing import PHASES, Found
from tests.database import Database

# The phase coverage takes longer than all others: the benchmark has it.
CALL_BY_CALL = PHASES | {"coverage": False, "stateful": False}
OVER_LINKS = dict.fromkeys(PHASES, False) | {"stateful": True}


def test_the_api_keeps_what_its_document_says(database: Database, tmp_path: Path) -> None:
    found = _found(database, tmp_path, examples=3, phases=CALL_BY_CALL)
    assert set(found.operations) == set(_operations())
    assert {200, 201, 202, 204, 400, 401, 404, 409, 422} <= set(found.statuses)


def test_it_keeps_it_on_journeys_over_the_links_of_the_document(database: Database, tmp_path: Path) -> None:
    found = _found(database, tmp_path, examples=6, phases=OVER_LINKS, walks=2)
    assert found.links.total() > 200
    assert len(found.links) > 80
    assert len({target for _, target in found.links}) > 45
    assert {"use_after_free", "ensure_resource_availability"} <= set(found.checks)
    assert {200, 201, 202, 204, 404, 409} <= set(found.statuses)


def _operations() -> list[str]:
    return [f"{method.upper()} {path}" for path, item in document()["paths"].items() for method in item]


def _found(
    database: Database, folder: Path, *, examples: int, phases: Mapping[str, bool], walks: int = 1
) -> Found:
    found = Found()
    on_stage(database.owner_url, folder, found, seed=1, examples=examples, phases=phases, walks=walks)
    assert not found.errors, found.errors[0]
    assert not found.failures, "\n\n".join(found.failures.values())
    return found
