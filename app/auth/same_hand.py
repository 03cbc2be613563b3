"""Which keys speak for the same person, as far as the service can tell.

A key is no person, and an administrator can make as many as he likes. So two keys are one hand

- for good, where one took the other's place (rotation);
- while the younger of them is new, where one made the other: others have been told of it by then, and have
  had that time to revoke it;

and so are any two that a chain of such links connects. A key that the operator's command made has no maker.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

# Those that last longest come first.
_LINKS = text("""
SELECT id, rotated_from_id AS other, CAST(NULL AS timestamptz) AS until FROM api_keys
WHERE tenant_id = :tenant_id AND rotated_from_id IS NOT NULL
UNION ALL
SELECT id, made_by_id, created_at + make_interval(secs => :seconds) FROM api_keys
WHERE tenant_id = :tenant_id AND made_by_id IS NOT NULL
  AND created_at + make_interval(secs => :seconds) > now()
ORDER BY until DESC NULLS FIRST
""")


@dataclass(frozen=True, slots=True)
class SameHand:
    """`until`: when they no longer are, if no further key is made; None: for good."""

    until: datetime | None


def same_hand(
    session: Session, tenant_id: uuid.UUID, key_id: uuid.UUID, others: Collection[uuid.UUID], new_hours: float
) -> SameHand | None:
    """Whether the key is one hand with any of `others`; None: with none of them. `new_hours`: how long a key
    is new."""
    if key_id in others:
        return SameHand(None)
    wanted, hands = set(others), {key_id: {key_id}}
    links = session.execute(_LINKS, {"tenant_id": tenant_id, "seconds": new_hours * 3600})
    # By and by what links connect grows together (Kruskal): the first that connects the key with another is
    # the weakest of the chain that lasts longest.
    for link in links:
        one, other = (hands.setdefault(key, {key}) for key in (link.id, link.other))
        if one is other:
            continue
        fewer, more = sorted((one, other), key=len)
        more |= fewer
        hands.update(dict.fromkeys(fewer, more))
        if not wanted.isdisjoint(hands[key_id]):
            return SameHand(link.until)
    return None
