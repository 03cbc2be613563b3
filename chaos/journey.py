"""Tenants, data and models, registered over HTTP while the faults go on."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from chaos.service import Service
from tests.worker.tiny import NETWORK, RECIPE, TASKS, TRAIN, Tiny

# Both rungs are tried, and then the job fails.
CLIMBING = {"on_miss": ["larger_budget", "fail"], "budget_factor": 2}
NO_CANDIDATE_KEEPS = '{"gates": {"retained_drop": -100}}'
GATES = {"retained_drop": 100.0, "unnamed_drop": 100.0, "forget_excess": 100.0}
UNSETTLED = ("validating", "awaiting_checkpoint")


class GaveUp(Exception):
    """The service did not answer as it must for longer than any fault lasts."""


class Caller:
    """One tenant's client. Whatever a fault does to a call, it is made again until it is answered."""

    def __init__(self, service: Service, tenant: str, root: Path) -> None:
        key = service.tenant(tenant, root)
        self.tenant = tenant
        self._http = httpx.Client(
            base_url=service.url, headers={"Authorization": f"Bearer {key}"}, timeout=httpx.Timeout(10.0)
        )

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, seconds: float = 120.0, **arguments: Any) -> httpx.Response:
        """The first answer below 500. Raises `GaveUp`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                answer = self._http.request(method, path, **arguments)
                if answer.status_code < 500:
                    return answer
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise GaveUp(f"{method} {path} was not answered within {seconds:g} s")


@dataclass(frozen=True)
class Subject:
    """A registered model to delete from."""

    caller: Caller
    name: str
    method: str


def register_data(caller: Caller, name: str, tiny: Tiny) -> None:
    body = {
        "name": name,
        "format": "arrays",
        "url": f"file://{tiny.train}",
        "holdout_url": f"file://{tiny.holdout}",
    }
    caller.call("POST", "/v1/datasets", json=body)
    _follow(caller, f"/v1/datasets/{name}")


def register_webhook(caller: Caller, url: str) -> None:
    """Of everything that happens to the tenant."""
    answer = caller.call("POST", "/v1/webhooks", json={"url": url})
    if answer.status_code != 201:
        raise GaveUp(f"a webhook was refused: {answer.text}")


def register_model(
    caller: Caller, name: str, dataset: str, method: str, tiny: Tiny, policy: Mapping[str, Any] = {}
) -> Subject:
    """Sent again and again until it is there: what a fault swallowed the answer of was done, or was not."""
    body = {
        "name": name,
        "network": NETWORK,
        "tasks": [{"name": task.name, "kind": task.kind, "outputs": task.outputs} for task in TASKS],
        "dataset": dataset,
        "recipe": RECIPE,
        "policy": {"method": method, "visits": 4, "gates": GATES} | dict(policy),
    }
    answer = caller.call("POST", "/v1/models", json=body)
    if answer.status_code not in (201, 409):
        raise GaveUp(f"a model was refused: {answer.text}")
    content = tiny.checkpoint.read_bytes()
    answer = caller.call("PUT", f"/v1/models/{name}/versions/1/checkpoint", content=content)
    if answer.status_code not in (202, 409):
        raise GaveUp(f"a checkpoint was refused: {answer.text}")
    _follow(caller, f"/v1/models/{name}")
    return Subject(caller, name, method)


def _follow(caller: Caller, path: str, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = caller.call("GET", path).json()
        if found["status"] == "ready":
            return
        if found["status"] not in UNSETTLED:
            raise GaveUp(f"{path} is {found['status']}: {found['error_detail']}")
        time.sleep(0.05)
    raise GaveUp(f"{path} was not settled within {seconds:g} s")


def instance(number: int) -> str:
    """Of the tiny data set."""
    return f"p{number % TRAIN}"
