"""Seeds, derived from ids so that a run can be repeated from the record alone."""

import hashlib
import uuid


def seed_of(purpose: str, subject: uuid.UUID) -> int:
    """48 bits, the same for the same purpose and id everywhere."""
    return int.from_bytes(hashlib.sha256(purpose.encode() + subject.bytes).digest()[:6])
