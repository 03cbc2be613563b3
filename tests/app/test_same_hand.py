"""Which keys are one hand, and until when: against looking at every moment at which that may change."""

import random
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from app.auth.same_hand import SameHand, same_hand
from models import APIKey, time_ordered_id
from tests.app.world import World

HOURS, NOW = 24, datetime.now(UTC)
FOR_GOOD = datetime.max.replace(tzinfo=UTC)
Link = tuple[uuid.UUID, uuid.UUID, datetime]


def test_it_is_as_the_chain_that_lasts_longest_has_it(world: World) -> None:
    """Keys of all ages, made and rotated by any before them."""
    drawn, found = random.Random(5), Counter[bool | None]()
    for k in range(12):
        tenant = world.tenant(f"tenant-{k}")
        with Session(world.engine) as session, session.begin():
            session.connection().exec_driver_sql("SET lethe.everyone = 'on'")
            keys, links = _keys(session, tenant, drawn), []
            for key in keys:
                made = (key.id, key.made_by_id, key.created_at + timedelta(hours=HOURS))
                rotated = (key.id, key.rotated_from_id, FOR_GOOD)
                links += [(one, to, until) for one, to, until in (made, rotated) if to and until > NOW]
            for key in keys:
                askers = [other.id for other in drawn.sample(keys, 2)]
                expected = _until(key.id, askers, links)
                assert same_hand(session, tenant, key.id, askers, HOURS) == expected
                found[expected and (expected.until is None)] += 1
    assert min(found[None], found[True], found[False]) > 10


def _keys(session: Session, tenant: uuid.UUID, drawn: random.Random) -> list[APIKey]:
    keys: list[APIKey] = []
    for _ in range(9):
        before = [key.id for key in keys]
        keys.append(
            APIKey(
                id=time_ordered_id(),
                created_at=NOW - timedelta(hours=drawn.uniform(0, 2 * HOURS)),
                tenant_id=tenant,
                public_id=uuid.uuid4().hex[:12],
                secret_sha256=bytes(32),
                name="key",
                scopes=["admin"],
                made_by_id=drawn.choice([None, *before]),
                rotated_from_id=drawn.choice([None] * 8 + before),
            )
        )
        session.add(keys[-1])
        session.flush()
    return keys


def _until(key: uuid.UUID, askers: Sequence[uuid.UUID], links: Sequence[Link]) -> SameHand | None:
    moments = sorted({until for _, _, until in links} | {FOR_GOOD}, reverse=True)
    for moment in moments:
        if not _reached(key, [link for link in links if link[2] >= moment]).isdisjoint(askers):
            return SameHand(None if moment == FOR_GOOD else moment)
    return None


def _reached(key: uuid.UUID, links: Iterable[Link]) -> set[uuid.UUID]:
    reached, before = {key}, 0
    while len(reached) > before:
        before = len(reached)
        for one, other, _ in links:
            if one in reached or other in reached:
                reached |= {one, other}
    return reached
