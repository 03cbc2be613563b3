"""How schemathesis walks the links of the document: from what one answer names to the calls that take it."""

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.generation.meta import TestPhase

# Calls of one scenario at most. Those that it starts with count, and many lead nowhere.
STEPS = 40
# Links that schemathesis infers besides would take most of the steps, and start them with what is not there.
PHASE = {"max-steps": STEPS, "inference": {"algorithms": []}}
# Two of one name would be refused, or be the same.
_OF_ITS_OWN = ("name", "subject_request_id")


def starting_with_examples(document: Any) -> Callable[[Any, Any], st.SearchStrategy[Any]]:
    """A hook `flatmap_case`. What is generated is rarely accepted, and leads nowhere then; so half of the
    valid bodies that journeys send are the document's examples, under names that were generated."""
    bodies = _example_bodies(document)

    def flatmap_case(context: Any, case: Any) -> st.SearchStrategy[Any]:
        body = bodies.get(case.operation.label)
        if body is None or not _is_valid_step(case) or not isinstance(case.body, dict):
            return st.just(case)

        def filled(by_example: bool) -> Any:
            if by_example:
                own = {name: case.body[name] for name in _OF_ITS_OWN if name in body}
                case.body = copy.deepcopy(body) | own
            return case

        return st.booleans().map(filled)

    return flatmap_case


def _is_valid_step(case: Any) -> bool:
    meta = case.meta
    return (
        meta is not None
        and meta.phase.name is TestPhase.STATEFUL
        and meta.generation.mode is GenerationMode.POSITIVE
    )


def _example_bodies(document: Any) -> dict[str, dict[str, Any]]:
    """By operation, as schemathesis calls it."""
    schemas = document["components"]["schemas"]
    found = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            sent = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            schema = sent.get("schema", {})
            schema = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
            if "example" in schema:
                found[f"{method.upper()} {path}"] = schema["example"]
    return found
