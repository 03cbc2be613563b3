"""Requests per second: the API, the bare route and the empty route in turn, several rounds, medians."""

import json
import random
import subprocess
import sys
import time
from statistics import median, quantiles
from urllib.request import Request, urlopen

import psutil

from benchmarks.http.stage import INSTANCES, Server, Stage, settle

SECONDS = 2.0
CONNECTIONS = (1, 8)
POST = "/v1/deletion-requests"


def measure(stage: Stage, rounds: int) -> list[dict]:
    """One row per target and number of connections."""
    posted = _ask(stage, POST, _body(random.Random(0), 10))
    ids = [json.loads(_ask(stage, POST, _body(random.Random(k), 10)))["id"] for k in range(50)]
    ids.append(json.loads(posted)["id"])
    targets = {
        "POST, 10 instances": (stage.api, _posts(stage, POST)),
        "POST, bare route, same SQL": (stage.bare, _posts(stage, "/same-sql")),
        "GET one": (stage.api, [_get(stage, f"{POST}/{id}") for id in ids]),
        "GET one, bare route, same SQL": (stage.bare, [_get(stage, f"/same-sql/{id}") for id in ids]),
        "GET, empty route": (stage.bare, [_get(stage, "/empty")]),
    }
    for server, requests in targets.values():
        _drive(server, requests, 8, 0.5)
    found: dict[tuple[str, int], list[dict]] = {}
    for _ in range(rounds):
        for connections in CONNECTIONS:
            for name, (server, requests) in targets.items():
                settle(stage.world)
                found.setdefault((name, connections), []).append(
                    _drive(server, requests, connections, SECONDS)
                )
    return [_row(name, connections, runs) for (name, connections), runs in found.items()]


def hundred_thousand(stage: Stage, times: int) -> dict:
    """Seconds to accept one request that names 100,000 instances."""
    taken = []
    for k in range(times):
        settle(stage.world)
        body = _body(random.Random(k), 100_000)
        started = time.perf_counter()
        _ask(stage, POST, body)
        taken.append(time.perf_counter() - started)
    return {"seconds": median(taken), "worst": max(taken), "times": times, "megabytes": len(body) / 1e6}


def _posts(stage: Stage, path: str) -> list[str]:
    bodies = [_body(random.Random(k), 10).decode() for k in range(200)]
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stage.key}\r\n"
    return [
        f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        for body in bodies
    ]


def _get(stage: Stage, path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stage.key}\r\n\r\n"


def _body(generator: random.Random, instances: int) -> bytes:
    named = [f"scan-{i}" for i in generator.sample(range(INSTANCES), instances)]
    return json.dumps({"model": "reader", "instances": named, "tasks": "all"}).encode()


def _ask(stage: Stage, path: str, body: bytes) -> bytes:
    headers = {"Authorization": f"Bearer {stage.key}", "Content-Type": "application/json"}
    url = f"http://127.0.0.1:{stage.api.port}{path}"
    with urlopen(Request(url, body, headers)) as answer:
        content: bytes = answer.read()
        return content


def _drive(server: Server, requests: list[str], connections: int, seconds: float) -> dict:
    order = {"port": server.port, "connections": connections, "seconds": seconds, "requests": requests}
    process = psutil.Process(server.process.pid)
    before = sum(process.cpu_times()[:2])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.http.load"],
        input=json.dumps(order).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict = json.loads(done.stdout)
    assert found["failures"] == 0, f"{found['failures']} requests failed"
    found["cpu_ms"] = (sum(process.cpu_times()[:2]) - before) * 1000 / found["requests"]
    return found


def _row(name: str, connections: int, runs: list[dict]) -> dict:
    cuts = [quantiles(run["milliseconds"], n=100) for run in runs]
    return {
        "target": name,
        "connections": connections,
        "per_second": median(run["requests"] / run["seconds"] for run in runs),
        "p50_ms": median(cut[49] for cut in cuts),
        "p99_ms": median(cut[98] for cut in cuts),
        "server_cpu_ms": median(run["cpu_ms"] for run in runs),
        "requests": sum(run["requests"] for run in runs),
    }
