"""Public keys, as the one who checks has them: a PEM file, or the service's list of keys.

The list also has keys of another kind, that checkpoints are signed with: those are for the tool of OpenSSF
model-signing, and no statement may be signed with them.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.signer import SSlibKey

from lethe.findings import NotVerified


def read_keys(files: list[Path]) -> list[SSlibKey]:
    """The Ed25519 keys in the files, each under the SHA-256 of its DER form. Raises `NotVerified`."""
    return [_key(pem, file) for file in files for pem in _pems(file)]


def _pems(file: Path) -> list[str]:
    text = file.read_text(encoding="utf-8", errors="replace")
    if text.lstrip().startswith("-----BEGIN"):
        return [text]
    try:
        listed: Any = json.loads(text)
        return [str(entry["public_key"]) for entry in listed["data"] if entry["algorithm"] == "ed25519"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotVerified(
            f"{file} holds no public keys: give a PEM file, or what the service answers at "
            "/.well-known/lethe-signing-keys.json."
        ) from error


def _key(pem: str, file: Path) -> SSlibKey:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise NotVerified(f"A public key in {file} cannot be read.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise NotVerified(f"A key in {file} is not an Ed25519 key: statements are signed with such only.")
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return SSlibKey.from_crypto(key, hashlib.sha256(der).hexdigest())
