"""Keyed hashes of instance ids."""

import hashlib
import hmac
import uuid

from app.core.hashing import hash_instances
from app.core.settings import Settings


def test_known_value_and_separation(settings: Settings) -> None:
    mine, other = uuid.uuid4(), uuid.uuid4()
    derived = hmac.new(bytes.fromhex(settings.hash_key.get_secret_value()), mine.bytes, "sha256").digest()
    expected = hmac.new(derived, b"scan-1", hashlib.sha256).digest()
    assert hash_instances(["scan-1"], mine, settings) == [expected]
    assert hash_instances(["scan-1"], other, settings) != [expected]
    assert hash_instances(["scan-1 "], mine, settings) != [expected]
