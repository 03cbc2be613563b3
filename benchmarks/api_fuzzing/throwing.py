"""One seeded run of schemathesis against a served application, and what it found."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema

from benchmarks.api_fuzzing.journeys import PHASE, starting_with_examples
from benchmarks.api_fuzzing.known import Known

# What JSON Schema cannot say, or only so that nobody could read it: rules between fields, 1.0 as a whole
# number, what is a URL that can be sent to.
BEYOND_THE_DOCUMENT = (
    "one of the two",
    "not both",
    "names one twice",
    "every task needs a name of its own",
    "cannot give the guarantee exact",
    "on_miss",
    "valid integer",
    "https:// URL",
    "a URL must not",
    "is not a sha256",
    "is not a sha1",
    "is not a md5",
    "identity_value is empty",
    "submitted_time lies",
    "must not look like an id",
    "characters of JSON",
    "NUL characters or lone surrogates",
    "deep",
)
PHASES = dict.fromkeys(("examples", "coverage", "fuzzing", "stateful"), True)
# Which known names go where; the others are what calls and fields are called themselves.
PLACES = {
    "path.dataset": "dataset",
    "path.model": "model",
    "path.version": "version",
    "path.alias": "alias",
    "path.request_id": "request_id",
    "path.job_id": "job_id",
    "path.list_id": "list_id",
    "path.webhook_id": "webhook_id",
    "path.event_id": "event_id",
    "path.key_id": "key_id",
    "path.hold_id": "hold_id",
    "path.audit_id": "audit_id",
    "path.subject_request_id": "subject_request_id",
    "query.model": "model",
    "body.model": "model",
    "body.dataset": "dataset",
    "body.instances[*]": "instance",
    "body.identities[*].instances[*]": "instance",
    "body.tasks[*]": "task",
    "body.instance_list": "list_id",
}


@schemathesis.check  # type: ignore[untyped-decorator]
def the_document_says_what_is_valid(ctx: Any, response: Any, case: Any) -> None:
    """What the document allows may be refused for what is there, and never for how it looks."""
    mode = case.meta.generation.mode if case.meta is not None else None
    if mode is not GenerationMode.POSITIVE or response.status_code not in (400, 422):
        return
    problem = response.json()
    shape = problem.get("code") in ("validation_error", "malformed_json", "unknown_parameter")
    if shape and not any(rule in problem["detail"] for rule in BEYOND_THE_DOCUMENT):
        raise AssertionError(f"valid by the document, and refused: {response.text[:300]}")


@dataclass
class Found:
    """`links`: calls that went over a link of the document with what it hands over, by link and target."""

    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    links: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: dict[tuple[str, str, str], str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


def throw(
    url: str,
    key: str,
    known: Known,
    found: Found,
    *,
    used_key: str,
    seed: int,
    examples: int,
    phases: Mapping[str, bool],
    walks: int = 1,
) -> None:
    """`examples` per operation and phase. `used_key`: the id of the key that calls, which none revokes.
    `walks`: how often journeys are begun anew. Hypothesis ends them early, and without a word, once it tries
    a beginning again and is answered otherwise than before; which happens, as what is there has changed."""
    only_journeys = dict.fromkeys(phases, False) | {"stateful": True}
    again = [only_journeys] * (walks - 1) if phases["stateful"] else []
    for number, on in enumerate([phases, *again]):
        config = SchemathesisConfig.from_dict(_configuration(known, seed + 1000 * number, examples, on, key))
        _throw_once(url, config, used_key, found)


def _throw_once(url: str, config: SchemathesisConfig, used_key: str, found: Found) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)

    @schema.hook  # type: ignore[untyped-decorator]
    def filter_case(context: Any, case: Any) -> bool:
        return used_key not in map(str, (case.path_parameters or {}).values())

    schema.hook(starting_with_examples(schema.raw_schema))

    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished():
                _read(event.recorder, found)
            case events.NonFatalError():
                found.errors.append(f"{event.label}: {event.info.format()}")
            case events.FatalError():
                raise event.exception


def _read(recorder: Any, found: Found) -> None:
    for case_id, interaction in recorder.interactions.items():
        found.cases += 1
        node = recorder.cases[case_id]
        found.operations[node.value.operation.label] += 1
        if node.transition is not None and node.is_transition_applied:
            found.links[node.transition.id, node.value.operation.label] += 1
        if interaction.response is not None:
            found.statuses[interaction.response.status_code] += 1
    for case_id, checks in recorder.checks.items():
        label = recorder.cases[case_id].value.operation.label
        for check in checks:
            found.checks[check.name] += 1
            if check.status is not Status.SUCCESS and check.failure_info is not None:
                failure = check.failure_info.failure
                answer = recorder.interactions[case_id].response
                told = answer.text[:600] if answer is not None else ""
                text = f"{failure.title}: {failure.message}\n{check.failure_info.code_sample}\n{told}"
                found.failures.setdefault((label, check.name, failure.title), text)


def _configuration(
    known: Known, seed: int, examples: int, phases: Mapping[str, bool], key: str
) -> dict[str, Any]:
    return {
        "seed": seed,
        "dictionaries": {name: {"values": values} for name, values in known.names.items()},
        "parameters": {
            place: {"dictionary": name, "probability": 0.8}
            for place, name in PLACES.items()
            if name in known.names
        },
        "headers": {"Authorization": f"Bearer {key}"},
        "request-timeout": 10,
        "continue-on-failure": True,
        "suppress-health-check": ["all"],
        "generation": {"max-examples": examples, "database": "none", "deterministic": False},
        "phases": {name: {"enabled": on} for name, on in phases.items()}
        | {"stateful": {"enabled": phases["stateful"], **PHASE}},
        "operations": [
            # The document lists what its path takes below a more general path, too.
            {
                "include-operation-id": "upload_checkpoint",
                "checks": {"allow_header_conformance": {"enabled": False}},
            },
            {
                "include-path-regex": "^/opendsr/",
                "checks": {
                    "positive_data_acceptance": {"expected-statuses": ["2xx", 400, 403, 404]},
                    # Its DELETE cancels: that a request was cancelled is told for as long as it is asked.
                    "use_after_free": {"enabled": False},
                },
            },
            # Their 404 may also be about the version that the body names, of a model that is there.
            *(
                {
                    "include-operation-id": name,
                    "checks": {"ensure_resource_availability": {"enabled": False}},
                }
                for name in ("place_hold", "move_alias")
            ),
        ],
        "checks": {
            # What is refused because of what is there (an unknown task, a state) is refused with these.
            "positive_data_acceptance": {
                "expected-statuses": ["2xx", "3xx", 401, 403, 404, 409, 410, 412, 416, 422]
            },
        },
    }
