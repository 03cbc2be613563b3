"""Prometheus metrics of this process: HTTP by route template, and the queue as the database tells it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import Scope

REQUESTS = Counter("lethe_http_requests_total", "HTTP requests", ["method", "route", "status"])
SECONDS = Histogram(
    "lethe_http_request_seconds",
    "Time to the end of the answer",
    ["method", "route"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
RATE_LIMITS_ALONE = Gauge(
    "lethe_rate_limits_without_redis", "1 while this process counts calls by itself, because Redis is away"
)
QUEUED_JOBS = Gauge("lethe_jobs_queued", "Jobs that wait for a worker")
OLDEST_QUEUED_SECONDS = Gauge("lethe_jobs_oldest_queued_seconds", "Age of the oldest job that waits")
RUNNING_JOBS = Gauge("lethe_jobs_running", "Jobs that a worker holds")
REVIEWED_JOBS = Gauge("lethe_jobs_needs_review", "Jobs whose candidate waits for a person")
UNSENT = Gauge("lethe_outbox_unsent", "Wake-ups that the relay has not sent yet")
WEBHOOKS_FAILING = Gauge("lethe_webhooks_failing", "Webhook deliveries that failed and will be tried again")
WEBHOOKS_GIVEN_UP = Gauge("lethe_webhooks_given_up_last_day", "Webhook deliveries that became dead letters")
EXPIRED_LEASES = Gauge("lethe_leases_expired", "Jobs whose lease has run out and that nobody reclaimed yet")

# What names tenants and their models is not for everybody: a registry of its own.
OF_TENANTS = CollectorRegistry()
_MODEL = ["tenant", "model"]
REQUESTS_UNSETTLED = Gauge(
    "lethe_requests_unsettled", "Deletion requests that are not settled", _MODEL, registry=OF_TENANTS
)
AWAITING_APPROVAL = Gauge(
    "lethe_requests_awaiting_approval",
    "Deletion requests that wait for a person's word",
    _MODEL,
    registry=OF_TENANTS,
)
OLDEST_REQUEST_SECONDS = Gauge(
    "lethe_requests_oldest_seconds",
    "Age of the oldest request that is not settled",
    _MODEL,
    registry=OF_TENANTS,
)
DUE_DAYS = Gauge(
    "lethe_requests_due_days",
    "Days to the nearest due date of a request that is not settled",
    _MODEL,
    registry=OF_TENANTS,
)

# Of the attempts that began within a day: the database forgets none, and a scrape must not read them all.
ATTEMPTS = Gauge(
    "lethe_attempts_last_day", "Attempts by how they ended; lease_lost was reclaimed", ["outcome"]
)
FAILURES = Gauge("lethe_failures_last_day", "Attempts that ended with an error, by its code", ["code"])
PHASE_SECONDS = Gauge("lethe_phase_seconds_last_day", "Mean seconds of a phase of a run", ["phase"])
PHASE_SECONDS_MAX = Gauge(
    "lethe_phase_seconds_max_last_day", "Longest seconds of a phase of a run", ["phase"]
)
PEAK_MEMORY = Gauge("lethe_device_peak_memory_bytes_last_day", "Most memory that a run took", ["device"])

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


def observe_request(scope: Scope, status: int, seconds: float) -> None:
    """Counted by the route's template, never by the path, so that ids do not become label values."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = getattr(scope.get("route"), "path", "unmatched")
    REQUESTS.labels(method, route, status).inc()
    SECONDS.labels(method, route).observe(seconds)
