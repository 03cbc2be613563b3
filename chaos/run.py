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
from chaos.recovery import begun_by_now, goes_on, is_settled, seconds_until
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
    """One fault. `recovery`: seconds from its end until one more request was accepted and all the work that
    it interrupted went on. `settled`: until that request and everything accepted before it was settled, the
    work that was waiting anyway among it. None: never."""

    kind: str
    recovery: float | None
    settled: float | None


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
        struck = _recovered(service, stream, kind)
        done += 1
        say(f"{done:4}  {kind}: goes on {_after(struck.recovery)}, all settled {_after(struck.settled)}")
        yield struck
        if stream.failure:
            raise AssertionError(stream.failure)


def _recovered(service: Service, stream: Stream, kind: str) -> Struck:
    """Measured from this moment, the end of the fault."""
    over = time.monotonic()
    before = begun_by_now(service.rows)
    stream.pause()
    stream.post_one_more()
    accepted = list(stream.accepted.requests)
    recovery = seconds_until(lambda: goes_on(service.rows, before), over, LONGEST_RECOVERY)
    settled = seconds_until(lambda: is_settled(service.rows, accepted), over, LONGEST_RECOVERY)
    return Struck(kind, recovery, settled)


def _verdict(service: Service, stream: Stream, seed: int, struck: list[Struck], begin: float) -> Verdict:
    accepted = stream.accepted.requests
    seconds_until(lambda: is_settled(service.rows, accepted), time.monotonic(), LONGEST_RECOVERY)
    cap = int(SETTINGS["LETHE_MAX_ATTEMPTS"])
    deadline = time.monotonic() + SECONDS_TO_TIDY
    # The relay sweeps every second; what is still there when it has swept for long is a broken promise.
    while (broken := broken_promises(service.rows, service.storage, accepted, cap)) and (
        time.monotonic() < deadline
    ):
        time.sleep(1.0)
    broken += undelivered(service.rows, service.receiver)
    late = [each for each in struck if each.recovery is None or each.settled is None]
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


def _after(seconds: float | None) -> str:
    return "NEVER" if seconds is None else f"after {seconds:.1f} s"


def _counts(service: Service, query: str) -> dict[str, int]:
    return {str(name): int(count) for name, count in service.rows(query)}


LIMIT = 3 * LEASE_SECONDS
"""Seconds: what a recovery may take."""
