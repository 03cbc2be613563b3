"""Prometheus metrics of this process: HTTP by route template, and the queue as the database tells it."""

from prometheus_client import Counter, Gauge, Histogram
from starlette.types import Scope

REQUESTS = Counter("lethe_http_requests_total", "HTTP requests", ["method", "route", "status"])
SECONDS = Histogram(
    "lethe_http_request_seconds",
    "Time to the end of the answer",
    ["method", "route"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
QUEUED_JOBS = Gauge("lethe_jobs_queued", "Jobs that wait for a worker")
OLDEST_QUEUED_SECONDS = Gauge("lethe_jobs_oldest_queued_seconds", "Age of the oldest job that waits")
RUNNING_JOBS = Gauge("lethe_jobs_running", "Jobs that a worker holds")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


def observe_request(scope: Scope, status: int, seconds: float) -> None:
    """Counted by the route's template, never by the path, so that ids do not become label values."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = getattr(scope.get("route"), "path", "unmatched")
    REQUESTS.labels(method, route, status).inc()
    SECONDS.labels(method, route).observe(seconds)
