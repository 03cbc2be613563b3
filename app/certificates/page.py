"""The certificate as a page to read, print and hand on. Everything on it comes from what was signed."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from app.certificates.figures import in_order, membership_plot, task_figures
from app.core.signing import DISPOSAL


def render(envelopes: list[str]) -> str:
    """One page for all of them, each on sheets of its own."""
    return (
        _environment().get_template("page.html").render(certificates=[_context(each) for each in envelopes])
    )


def _context(envelope: str) -> dict[str, Any]:
    members = json.loads(envelope)
    statement = json.loads(base64.b64decode(members["payload"]))
    predicate = statement["predicate"]
    measured = (predicate.get("measurements") or {}).get("tasks", {})
    tasks = in_order(measured, predicate["request"].get("tasks", []))
    return {
        "statement": statement,
        "predicate": predicate,
        "is_disposal": statement["predicateType"] == DISPOSAL,
        "key_id": members["signatures"][0]["keyid"],
        "envelope_sha256": hashlib.sha256(envelope.encode()).hexdigest(),
        "tasks": task_figures(tasks),
        "membership": membership_plot(tasks),
        "punctual": _punctual(predicate["request"]),
    }


def _punctual(request: dict[str, Any]) -> bool | None:
    if not request.get("due_at"):
        return None
    return bool(_moment(request["finished_at"]) <= _moment(request["due_at"]))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _day(text: str) -> str:
    moment = _moment(text)
    return f"{moment.day} {moment:%B %Y}"


def _day_and_time(text: str) -> str:
    return f"{_day(text)}, {_moment(text):%H:%M} UTC"


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("app.certificates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"day": _day, "day_and_time": _day_and_time}
    made.globals["plural"] = _plural
    return made
