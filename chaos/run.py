"""One seed, from an empty database to the verdict."""

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chaos.checker import broken_promises, doubled_versions, lost_requests, undelivered
from chaos.faults import KINDS, NotStruck, drawn
from chaos.journey import (
    CLIMBING,
    NO_CANDIDATE_KEEPS,
    Caller,
    Subject,
    register_data,
    register_model,
    register_webhook,
)
from chaos.recovery import seconds_until_settled
from chaos.service import LEASE_SECONDS, SETTINGS, Service, serving
from chaos.stream import Stream
from tests.worker.tiny import Tiny, make_tiny

METHODS = ("retrain", "interference_aware")
TENANTS = ("acme", "globex")
LONGEST_RECOVERY = 90.0
SECONDS_TO_TIDY = 90.0
Say = Callable[[str], None]


@dataclass(frozen=True)
class Struck:
    """One fault, and the seconds from its end until everything accepted by then, and one request more that
    was posted at that moment, was settled (None: never)."""

    kind: str
    recovery: float | None


@dataclass(frozen=True)
class Verdict:
    """Of one seed."""

    seed: int
    seconds: float
    faults: list[Struck]
    accepted: int
    models: int
    refused: int
    statuses: dict[str, int]
    attempts: dict[str, int]
    failures: dict[str, int]
    lost: int
    doubled: int
    broken: list[str]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def run_seed(seed: int, faults: int, say: Say, kinds: tuple[str, ...] | None = None) -> Verdict:
    """`kinds`: only these, in this order, over and over."""
    chance = random.Random(seed)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lethe-chaos-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "data").mkdir()
        tiny = make_tiny(folder / "data")
        with serving(folder) as service, _stream(service, tiny, chance) as stream:
            struck = list(_strike(service, stream, chance, faults, say, kinds))
            stream.stop()
            return _verdict(service, stream, seed, struck, begin)


@contextmanager
def _stream(service: Service, tiny: Tiny, chance: random.Random) -> Iterator[Stream]:
    """Two tenants with a model for each method, one with a webhook and one with a model whose candidates all
    miss; and a third whose model is there to be damaged."""
    callers = [Caller(service, tenant, tiny.folder) for tenant in (*TENANTS, "victim")]
    for caller in callers:
        register_data(caller, "data", tiny)
    subjects: list[Subject] = [
        register_model(caller, f"{caller.tenant}-{method}", "data", method, tiny)
        for caller in callers[:-1]
        for method in METHODS
    ]
    subjects.append(register_model(callers[1], "climbing", "data", METHODS[1], tiny, CLIMBING))
    service.rows(
        "UPDATE registered_models SET policy = policy || CAST(:gates AS jsonb) WHERE name = 'climbing'"
        " RETURNING id",
        gates=NO_CANDIDATE_KEEPS,
    )
    register_webhook(callers[0], service.receiver.url)
    victim = register_model(callers[-1], "victim", "data", METHODS[0], tiny)
    stream = Stream(subjects, victim, tiny, random.Random(chance.random()))
    stream.start()
    try:
        yield stream
    finally:
        stream.stop()
        for caller in callers:
            caller.close()


def _strike(
    service: Service,
    stream: Stream,
    chance: random.Random,
    faults: int,
    say: Say,
    kinds: tuple[str, ...] | None,
) -> Iterator[Struck]:
    coming = iter(kinds * faults) if kinds else drawn(chance)
    done = 0
    while done < faults:
        kind = next(coming)
        stream.flow()
        time.sleep(chance.uniform(0.3, 1.2))
        try:
            KINDS[kind](service, stream, chance)
        except NotStruck as reason:
            say(f"      {kind}: {reason}")
            continue
        over = time.monotonic()
        stream.pause()
        stream.post_one_more()
        settled = seconds_until_settled(service, list(stream.accepted.requests), LONGEST_RECOVERY)
        recovery = None if settled is None else time.monotonic() - over
        done += 1
        say(f"{done:4}  {kind}: {'NEVER' if recovery is None else f'{recovery:.1f} s'}")
        yield Struck(kind, None if recovery is None else round(recovery, 3))
        if stream.failure:
            raise AssertionError(stream.failure)


def _verdict(service: Service, stream: Stream, seed: int, struck: list[Struck], begin: float) -> Verdict:
    accepted = stream.accepted.requests
    seconds_until_settled(service, accepted, LONGEST_RECOVERY)
    cap = int(SETTINGS["LETHE_MAX_ATTEMPTS"])
    deadline = time.monotonic() + SECONDS_TO_TIDY
    # The relay sweeps every second; what is still there when it has swept for long is a broken promise.
    while (broken := broken_promises(service.rows, service.storage, accepted, cap)) and (
        time.monotonic() < deadline
    ):
        time.sleep(1.0)
    broken += undelivered(service.rows, service.receiver)
    late = [each for each in struck if each.recovery is None]
    return Verdict(
        seed=seed,
        seconds=round(time.monotonic() - begin, 1),
        faults=struck,
        accepted=len(accepted),
        models=len(stream.accepted.models),
        refused=len(stream.accepted.refused),
        statuses=_counts(service, "SELECT status, count(*) FROM deletion_requests GROUP BY 1"),
        attempts=_counts(service, "SELECT outcome, count(*) FROM attempts GROUP BY 1"),
        failures=_counts(
            service, "SELECT error_code, count(*) FROM deletion_requests WHERE status = 'failed' GROUP BY 1"
        ),
        lost=len(lost_requests(service.rows, accepted)),
        doubled=doubled_versions(service.rows),
        broken=broken + [f"nothing recovered from: {each.kind}" for each in late],
    )


def _counts(service: Service, query: str) -> dict[str, int]:
    return {str(name): int(count) for name, count in service.rows(query)}


LIMIT = 3 * LEASE_SECONDS
"""Seconds: what a recovery may take."""
