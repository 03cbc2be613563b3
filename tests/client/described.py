"""A server that answers whatever is asked as the service's OpenAPI document says.

A call that the document does not know makes it fail.
"""

import hashlib
import json
import re
from collections import defaultdict
from typing import Any
from urllib.parse import parse_qs, urlsplit

from app.core.settings import Settings
from app.main import create_app
from tests.client.samples import sample
from tests.client.scripted import Heard, Reply, said


def openapi() -> dict[str, Any]:
    settings = Settings(
        database_url="postgresql+psycopg://x",
        broker_url="redis://x",
        storage_url="file:///tmp/lethe-openapi",
        hash_key="0" * 64,
    )
    return create_app(settings).openapi()


class Service:
    """Answers each operation with what its description says, and notes what it was sent."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.operations = {
            operation["operationId"]: (method.upper(), re.compile(re.sub(r"{\w+}", "[^/]+", path)), operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
        }
        self.sent: dict[str, set[str]] = defaultdict(set)

    def answer(self, heard: Heard) -> Reply:
        url = urlsplit(heard.path)
        name, operation = next(
            (name, operation)
            for name, (method, path, operation) in self.operations.items()
            if method == heard.method and path.fullmatch(url.path)
        )
        self.sent[name] |= set(parse_qs(url.query))
        if heard.headers.get("content-type") == "application/json":
            self.sent[name] |= set(json.loads(heard.body))
        if "/events" in url.path and heard.headers["accept"] == "text/event-stream":
            return Reply(204)
        status, described = next(each for each in operation["responses"].items() if each[0] < "3")
        if name in ("describe_checkpoint", "download_checkpoint"):
            digest = hashlib.sha256(b"x").hexdigest()
            return Reply(200, b"x", {"ETag": f'"sha256:{digest}"'})
        schema = described.get("content", {}).get("application/json", {}).get("schema")
        return Reply(int(status)) if schema is None else said(int(status), self._sample(name, schema, heard))

    def _sample(self, name: str, schema: dict[str, Any], heard: Heard) -> Any:
        if name == "create_deletion_request" and "dry_run" in heard.path:
            return sample(schema | {"$ref": "#/components/schemas/Estimate"}, self.document)
        found = sample(schema, self.document)
        if isinstance(found, dict):
            if "has_more" in found:  # `_BY_TYPE` says False: this page is the last
                assert found["has_more"] is False
            if name in ("get_dataset", "get_model"):
                found["status"] = "ready"
            if name == "get_deletion_request":
                found["status"] = "succeeded"
        return found
