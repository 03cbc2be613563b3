"""Signed statements: in-toto Statements v1 in DSSE envelopes, signed with Ed25519.

The private key comes from the environment and lives in the relay only: the API is open to the world, and
workers run networks that others wrote. Of a key that has signed, the public half is kept in `signing_keys`
for good, so that what it signed can be checked after it was replaced.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.core.canonical import canonical
from app.core.settings import Settings
from models import SigningKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
ALGORITHM = "ed25519"
MODEL_ALGORITHM = "ecdsa-p256"

UNLEARNING = "urn:lethe:statement:unlearning:v1"
PARTS = "urn:lethe:statement:parts:v1"
DISPOSAL = "urn:lethe:statement:disposal:v1"
AUDIT_CHECKPOINT = "urn:lethe:statement:audit-checkpoint:v1"


class StatementSigner:
    """Signs with one key. `key_id` is the SHA-256 of the public key (DER, SubjectPublicKeyInfo), in hex."""

    def __init__(self, seed: bytes) -> None:
        """`seed`: the 32 bytes of an Ed25519 private key (RFC 8032 section 5.1.5)."""
        # Here, for the processes that sign nothing: it brings boto3 along where that is installed.
        from securesystemslib.signer import CryptoSigner, SSlibKey

        private = Ed25519PrivateKey.from_private_bytes(seed)
        public = private.public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.key_id = hashlib.sha256(der).hexdigest()
        self.public_key = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self._signer = CryptoSigner(private, SSlibKey.from_crypto(public, self.key_id))

    def sign(self, predicate_type: str, subjects: Mapping[str, str], predicate: Mapping[str, Any]) -> str:
        """The envelope, in canonical JSON. `subjects`: name → SHA-256 in hex of what the statement is about.

        Raises `ValueError` when the predicate has no canonical form.
        """
        from securesystemslib.dsse import Envelope

        statement = {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects.items()],
            "predicateType": predicate_type,
            "predicate": dict(predicate),
        }
        envelope = Envelope(canonical(statement), PAYLOAD_TYPE, {})
        envelope.sign(self._signer)
        return canonical(envelope.to_dict()).decode()

    def introduce(self, session: Session) -> None:
        """Keep the public key, in the transaction of what is signed with it."""
        made = insert(SigningKey).values(key_id=self.key_id, algorithm=ALGORITHM, public_key=self.public_key)
        session.execute(made.on_conflict_do_nothing())


def introduce_model_key(session: Session, signature: Mapping[str, Any] | None) -> None:
    """Keep the public key that a worker has signed a checkpoint with. It is listed as what it is, a key of
    another algorithm, and checks no statement: a worker must not be able to make certificates."""
    if signature is not None:
        made = insert(SigningKey).values(
            key_id=signature["key_id"], algorithm=MODEL_ALGORITHM, public_key=signature["public_key"]
        )
        session.execute(made.on_conflict_do_nothing())


def configured_signer(settings: Settings) -> StatementSigner | None:
    """None when the operator has set no key. Raises `ValueError` when it is not 64 hexadecimal characters."""
    if settings.signing_key is None or not settings.signing_key.get_secret_value():
        return None
    try:
        return StatementSigner(bytes.fromhex(settings.signing_key.get_secret_value()))
    except ValueError:
        raise ValueError(
            "LETHE_SIGNING_KEY must be 64 hexadecimal characters, such as `openssl rand -hex 32` makes."
        ) from None
