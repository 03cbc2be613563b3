"""The form of encrypted bytes: authenticated encryption in chunks, so that any range can be read alone.

    header   32 bytes: magic, salt, plaintext bytes per chunk
    chunks   each AES-256-GCM over CHUNK bytes of plaintext (the last one over what is left) and its tag, 16

The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015): a chunk's nonce holds its number and
whether it is the last one, and the header is authenticated with every chunk. So a chunk that was changed,
moved, dropped or added fails, and so does an end that was cut off. Every object has a key of its own, derived
(HKDF, RFC 5869) from its artifact's key and the salt: no nonce is used twice under one key, even if the same
artifact is written twice.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"\xffLETHE1\n"  # as a checkpoint's first bytes: a header of 700 petabytes
SALT = 16
CHUNK = 256 * 1024
TAG = 16
_HEADER = struct.Struct(">8s16sII")
HEADER = _HEADER.size
LARGEST_CHUNK = 16 * 1024 * 1024


class Damaged(ValueError):
    """Encrypted bytes are not what was written: changed, moved, cut short, or under another key."""


@dataclass(frozen=True)
class Layout:
    """Of one object. `total`: bytes as they lie there."""

    header: bytes
    salt: bytes
    chunk: int
    total: int

    @property
    def chunks(self) -> int:
        """At least one; empty content has one that is empty."""
        return max(1, -(-(self.total - HEADER) // (self.chunk + TAG)))

    @property
    def size(self) -> int:
        """Bytes of the content. Raises `Damaged`."""
        size = self.total - HEADER - self.chunks * TAG
        if size < 0 or (self.chunks > 1 and size <= (self.chunks - 1) * self.chunk):
            raise Damaged("the encrypted object was cut short")
        return size


def is_sealed(start: bytes) -> bool:
    """By the first bytes of an object."""
    return start.startswith(MAGIC)


def read_layout(start: bytes, total: int) -> Layout:
    """From the first bytes of an object and its length. Raises `Damaged`."""
    if len(start) < HEADER or not is_sealed(start):
        raise Damaged("the encrypted object has no header")
    header = start[:HEADER]
    _, salt, chunk, rest = _HEADER.unpack(header)
    if not 0 < chunk <= LARGEST_CHUNK or rest:
        raise Damaged("the encrypted object's header is not one of this version")
    return Layout(header, salt, chunk, total)


def seal(blocks: Iterable[bytes], key: bytes, salt: bytes, chunk: int = CHUNK) -> Iterator[bytes]:
    """The object for the content `blocks`, piece by piece. `key`: 32 bytes; `salt`: 16 fresh random ones."""
    header = _HEADER.pack(MAGIC, salt, chunk, 0)
    cipher = _cipher(key, salt)
    yield header
    waiting = bytearray()
    number = 0
    for block in blocks:
        waiting += block
        while len(waiting) > chunk:  # what may be the last chunk waits for the end
            yield cipher.encrypt(_nonce(number, last=False), bytes(waiting[:chunk]), header)
            del waiting[:chunk]
            number += 1
    yield cipher.encrypt(_nonce(number, last=True), bytes(waiting), header)


def unseal(
    layout: Layout, key: bytes, fetch: Callable[[int, int], bytes], start: int, end: int, at_once: int = 16
) -> Iterator[bytes]:
    """The content from `start` up to and without `end`. `fetch(start, length)` reads the object, `at_once`
    chunks a time. Raises `Damaged`."""
    end = min(end, layout.size)
    if start >= end and layout.size:
        return
    cipher = _cipher(key, layout.salt)
    number, last = start // layout.chunk, max(0, end - 1) // layout.chunk
    while number <= last:
        together = min(at_once, last - number + 1)
        sealed = layout.chunk + TAG
        place = HEADER + number * sealed
        found = fetch(place, min(together * sealed, layout.total - place))
        for offset in range(together):
            piece = found[offset * sealed : (offset + 1) * sealed]
            content = _open(cipher, piece, number, layout)
            first = number * layout.chunk
            wanted = content[max(0, start - first) : end - first]
            if wanted:
                yield wanted
            number += 1


def _open(cipher: AESGCM, piece: bytes, number: int, layout: Layout) -> bytes:
    try:
        return cipher.decrypt(_nonce(number, last=number == layout.chunks - 1), piece, layout.header)
    except (InvalidTag, ValueError) as error:
        raise Damaged(f"chunk {number} of the encrypted object is not what was written") from error


def _nonce(number: int, *, last: bool) -> bytes:
    return struct.pack(">3xQB", number, last)


def _cipher(key: bytes, salt: bytes) -> AESGCM:
    derived = HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"lethe artifact v1").derive(key)
    return AESGCM(derived)
