"""Fides' side of a SaaS connector, as its code does it (github.com/ethyca/fides, October 2025 to 2026):

schemas/saas/saas_config.py, async_polling_configuration.py     which members a request may have
util/saas_util.py                                               placeholders, bodies
connectors/query_configs/saas_query_config.py                   where their values come from
processors/…/post_processor_strategy_filter.py                  rows that are kept
async_dsr/strategies/async_dsr_strategy_polling.py, handlers/   start, poll, done
"""

import re
import uuid
from pathlib import Path
from typing import Any

import httpx
import yaml

REQUEST = {
    *("request_override", "path", "method", "headers", "query_params", "body", "param_values"),
    *("client_config", "data_path", "postprocessors", "pagination", "grouped_inputs", "ignore_errors"),
    *("rate_limit_config", "async_config", "skip_missing_param_values", "correlation_id_path"),
}
STATUS_REQUEST = REQUEST | {"status_path", "status_completed_value"}
INSTANCE_KEY = "lethe_instance"


class FidesError(Exception):
    """What would end the task in Fides with an error."""


class Connector:
    """One connector with its secrets, and one privacy request at a time."""

    def __init__(self, file: Path, secrets: dict[str, str], url: str) -> None:
        text = file.read_text().replace("<instance_fides_key>", INSTANCE_KEY)
        self.config: dict[str, Any] = yaml.safe_load(text)["saas_config"]
        defaults = {
            each["name"]: each["default_value"]
            for each in self.config["connector_params"]
            if "default_value" in each
        }
        self.secrets = defaults | secrets
        [endpoint] = self.config["endpoints"]
        self.collection, self.requests = endpoint["name"], endpoint["requests"]
        for request in (self.config["test_request"], *self.requests.values()):
            assert set(request) <= REQUEST, set(request) - REQUEST
        authentication = self.config["client_config"]["authentication"]
        assert authentication["strategy"] == "bearer"
        token = assign(authentication["configuration"]["token"], self.secrets)
        # The host and https are the operator's; here the service is at `url`.
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)
        self.privacy_request = f"pri_{uuid.uuid4()}"

    def close(self) -> None:
        self.http.close()

    def test(self) -> None:
        self._send(self.config["test_request"], {})

    def access(self, identity: dict[str, str]) -> list[dict[str, Any]]:
        """The rows of an access request, which an erasure begins with."""
        request = self.requests["read"]
        values = self._values(request, {}, identity)
        rows: list[dict[str, Any]] = self._send(request, values).json()[request["data_path"]]
        for processor in request["postprocessors"]:
            assert processor["strategy"] == "filter"
            rows = [row for row in rows if _kept(row, processor["configuration"], identity)]
        return rows

    def start_erasure(self, row: dict[str, Any], reply: dict[str, str] | None = None) -> dict[str, Any]:
        """The values that polling goes on with; with the callback's, when that is how it is answered."""
        request = self.requests["delete"]
        values = self._values(request, row, {}) | (reply or {})
        answer = self._send(request, values)
        if request["async_config"]["strategy"] == "callback":
            return values
        correlation_id = answer.json().get(request["correlation_id_path"])
        if not correlation_id:
            raise FidesError("could not extract the correlation id")
        return values | {"correlation_id": str(correlation_id)}

    def is_done(self, values: dict[str, Any]) -> bool:
        """One look of the scheduler."""
        polling = self.requests["delete"]["async_config"]
        assert polling["strategy"] == "polling"
        request = polling["configuration"]["status_request"]
        assert set(request) <= STATUS_REQUEST
        answer = self._send(request, values)
        if "application/json" not in answer.headers.get("content-type", ""):
            return False
        return bool(_at(answer.json(), request["status_path"]) == request["status_completed_value"])

    def _values(
        self, request: dict[str, Any], row: dict[str, Any], identity: dict[str, str]
    ) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for each in request.get("param_values", ()):
            if "references" in each:
                [reference] = each["references"]
                assert (reference["dataset"], reference["direction"]) == (INSTANCE_KEY, "from")
                values[each["name"]] = _at({self.collection: row}, reference["field"])
            elif "identity" in each:
                values[each["name"]] = identity.get(each["identity"])
            else:
                values[each["name"]] = self.secrets.get(each["connector_param"])
        return values | {"privacy_request_id": self.privacy_request, "uuid": str(uuid.uuid4())}

    def _send(self, request: dict[str, Any], values: dict[str, Any]) -> httpx.Response:
        path, body = assign(request["path"], values), assign(request.get("body"), values)
        if path is None or (request.get("body") and body is None):
            raise FidesError("a placeholder has no value")
        headers = {each["name"]: assign(each["value"], values) for each in request.get("headers", ())}
        query = {each["name"]: assign(each["value"], values) for each in request.get("query_params", ())}
        if body is not None and not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/json"
        answer = self.http.request(
            request["method"],
            path,
            content=body,
            headers={name: value for name, value in headers.items() if value is not None},
            params={name: value for name, value in query.items() if value is not None},
        )
        if answer.is_error:
            raise FidesError(f"{answer.status_code}: {answer.text}")
        return answer


def assign(template: Any, values: dict[str, Any]) -> Any:
    """None when a placeholder has no value."""
    if not isinstance(template, str):
        return template
    for placeholder in re.findall("<([^<>]+)>", template):
        if values.get(placeholder) is None:
            return None
        template = template.replace(f"<{placeholder}>", str(values[placeholder]))
    return template


def _kept(row: dict[str, Any], configuration: dict[str, Any], identity: dict[str, str]) -> bool:
    wanted = configuration["value"]
    if isinstance(wanted, dict):
        wanted = identity[wanted["identity"]]
    target = _at(row, configuration["field"])
    if target is None:
        return False
    if not isinstance(target, str):
        raise FidesError("the filter wants a string")
    return bool(wanted == target if configuration.get("exact", True) else wanted in target)


def _at(value: Any, path: str) -> Any:
    """As pydash.get, for names and positions with dots between."""
    for part in path.split("."):
        if isinstance(value, list):
            value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value
