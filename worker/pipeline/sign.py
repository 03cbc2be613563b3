"""Sign: a candidate's file, in the way of OpenSSF model-signing, so that its own tool verifies a download.

The library takes P-256 keys only, so this is another key than that of the certificates, which workers do not
have: they run networks that others wrote. The signature says that a worker of this service made these bytes;
what was forgotten, and how well, is for the certificate to say.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

# Brings hundreds of modules: with this one, when the worker starts, and not while a lease runs.
from model_signing.signing import Config

from app.core.settings import Settings


def sign_checkpoint(settings: Settings, file: Path, folder: Path) -> dict[str, Any] | None:
    """{key_id, public_key, bundle}: the signature (a Sigstore bundle) and the key to check it with; None when
    the operator has set no key. `folder`: the run's, closed to others; the library wants the key in a file.

    Raises `ValueError` when the key is not 64 hexadecimal characters.
    """
    if settings.model_signing_key is None or not settings.model_signing_key.get_secret_value():
        return None
    private = _private_key(settings.model_signing_key.get_secret_value())
    key_file, signature_file = folder / "model-signing-key.pem", folder / "signature.json"
    key_file.touch(mode=0o600)
    try:
        key_file.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        Config().use_elliptic_key_signer(private_key=key_file).sign(file, signature_file)
    finally:
        key_file.unlink()
    public = private.public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        "key_id": hashlib.sha256(der).hexdigest(),
        "public_key": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        "bundle": json.loads(signature_file.read_bytes()),
    }


def _private_key(text: str) -> ec.EllipticCurvePrivateKey:
    """All but one in four billion numbers of 256 bits are a private key of P-256."""
    try:
        return ec.derive_private_key(int.from_bytes(bytes.fromhex(text)), ec.SECP256R1())
    except ValueError:
        raise ValueError(
            "LETHE_MODEL_SIGNING_KEY must be 64 hexadecimal characters, such as `openssl rand -hex 32` makes."
        ) from None
