"""Keys of encrypted artifacts: one each, wrapped by a master key, in a store of their own.

The store lies neither in the database nor beside the artifacts, because backups of both are kept: a key in a
backup cannot be destroyed. Destroying an artifact's key makes every copy of its bytes unreadable, also
in backups and in a bucket's old versions.
"""

import hashlib
import os
import uuid
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.core.object_store import NotStored, ObjectStore
from app.core.sealed_format import Damaged

IDENTITY = "identity"
_KEY, _NONCE, _NAME = 32, 12, 16


class KeyMissing(NotStored):
    """Bytes are encrypted and their key is not there: it was destroyed, or the keys are not configured."""


class MasterKeys:
    """From a file: 64 hexadecimal characters a line. The first line wraps; the others still unwrap."""

    def __init__(self, file: Path) -> None:
        try:
            keys = [bytes.fromhex(line) for line in file.read_text().split()]
        except (OSError, ValueError) as error:
            raise ValueError(
                f"The master keys cannot be read from {file} ({type(error).__name__})."
            ) from None
        if not keys or any(len(key) != _KEY for key in keys):
            raise ValueError(
                f"{file} must hold 64 hexadecimal characters a line, such as `openssl rand -hex 32` makes."
            )
        self._keys = {hashlib.sha256(b"lethe master key" + key).digest()[:_NAME]: key for key in keys}
        self._current = next(iter(self._keys))

    def is_current(self, wrapped: bytes) -> bool:
        return wrapped.startswith(self._current)

    def wrap(self, key: bytes, path: str) -> bytes:
        nonce = os.urandom(_NONCE)
        sealed = AESGCM(self._keys[self._current]).encrypt(nonce, key, path.encode())
        return self._current + nonce + sealed

    def unwrap(self, wrapped: bytes, path: str) -> bytes:
        """Raises `Damaged`: not a key of this artifact, or under a master key that is not in the file."""
        name, nonce, sealed = wrapped[:_NAME], wrapped[_NAME : _NAME + _NONCE], wrapped[_NAME + _NONCE :]
        if name not in self._keys:
            raise Damaged(f"the key of {path} is wrapped by a master key that is not in the file")
        try:
            return AESGCM(self._keys[name]).decrypt(nonce, sealed, path.encode())
        except (InvalidTag, ValueError) as error:
            raise Damaged(f"the key of {path} is not what was stored") from error


class ArtifactKeys:
    """The key of the artifact at a path is the object of that name in the key store."""

    def __init__(self, store: ObjectStore, masters: MasterKeys) -> None:
        self._store = store
        self._masters = masters
        self._id: str | None = None

    @property
    def id(self) -> str:
        """Which store this is: what was encrypted with keys of another one, this one knows nothing about."""
        if self._id is None:
            self._store.create(IDENTITY, str(uuid.uuid4()).encode())  # unless there is one
            self._id = b"".join(self._store.read(IDENTITY)).decode()
        return self._id

    def for_writing(self, path: str) -> bytes:
        """The artifact's key; made, and on disk, when there is none."""
        self._store.create(path, self._masters.wrap(os.urandom(_KEY), path))
        return self.for_reading(path)

    def for_reading(self, path: str) -> bytes:
        """Raises `KeyMissing` and `Damaged`."""
        try:
            return self._masters.unwrap(b"".join(self._store.read(path)), path)
        except NotStored as error:
            raise KeyMissing(path) from error

    def has(self, path: str) -> bool:
        try:
            self._store.size(path)
        except NotStored:
            return False
        return True

    def destroy(self, path: str) -> None:
        """No error when it is gone already."""
        self._store.delete(path)

    def wrap_again(self, path: str) -> bool:
        """Under the first master key of the file; False when it is, or there is no key. The caller holds the
        artifact's row: a key that is destroyed meanwhile would come back. Raises `Damaged`."""
        try:
            wrapped = b"".join(self._store.read(path))
        except NotStored:
            return False
        if self._masters.is_current(wrapped):
            return False
        self._store.replace(path, self._masters.wrap(self._masters.unwrap(wrapped, path), path))
        return True
