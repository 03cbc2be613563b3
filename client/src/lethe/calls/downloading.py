"""Checkpoints to a file: resumed where they stopped, and never under their name before the digest is right.

What has come lies beside the target as `NAME.<start of the digest>.part`, so what belongs to another version
is never continued. An interrupted download goes on with Range and If-Range (RFC 9110 section 13.1.5), in this
run or the next.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from lethe.answers import Download
from lethe.errors import DigestMismatch, UnexpectedAnswer
from lethe.plan import Answer, Exchange, Outgoing, Plan, ask

TEMPORARY_REDIRECT = 307
_HEXADECIMAL = re.compile("[0-9a-f]{64}")
_AS_IT_IS = {"Accept-Encoding": "identity"}


class _Part:
    """The file in the making. `url`: where the bytes lie, if the service sent us elsewhere for them."""

    def __init__(self, file: Path, path: str, etag: str, size: int) -> None:
        self.file, self.size = file, size
        self.url: str | None = None
        self.replaced = False
        self._path, self._etag = path, etag

    def kept(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    def attempt(self) -> Outgoing:
        headers = dict(_AS_IT_IS)
        if kept := self.kept():
            headers["Range"] = f"bytes={kept}-"
            if self.url is None:  # another server names its contents otherwise; the digest decides there
                headers["If-Range"] = self._etag
        return Outgoing("GET", self.url or self._path, headers=headers)

    def open(self, answer: Answer) -> BinaryIO | None:
        if answer.status == TEMPORARY_REDIRECT:
            return None
        if self.url is None and answer.headers.get("etag") != self._etag:
            self.replaced = True
            return None
        kept = self.kept()
        if answer.status == 206:
            if not answer.headers.get("content-range", "").startswith(f"bytes {kept}-"):
                return None
            return self.file.open("ab")
        return self.file.open("wb") if answer.status == 200 else None


def download(model: str, version: int | str, target: Path | str) -> Plan[Download]:
    """Write a version's checkpoint to `target`. Nothing is fetched when it is there already.

    Raises `DigestMismatch`; `target` is then as it was.
    """
    target = Path(target)
    path = f"/v1/models/{quote(model, safe='')}/versions/{quote(str(version), safe='')}/checkpoint"
    described = yield from ask(Exchange(Outgoing("HEAD", path, headers=_AS_IT_IS)))
    etag, digest, size = _promised(described)
    if target.is_file() and target.stat().st_size == size and _sha256(target) == digest:
        return Download(file=str(target), digest=f"sha256:{digest}", size=size, resumed_at=size)
    part = _Part(target.with_name(f"{target.name}.{digest[:12]}.part"), path, etag, size)
    if part.kept() > size:
        part.file.unlink()
    resumed_at = part.kept()
    if resumed_at < size or size == 0:
        yield from _fetch(part)
    _put_in_place(part, digest, target)
    return Download(file=str(target), digest=f"sha256:{digest}", size=size, resumed_at=resumed_at)


def _fetch(part: _Part) -> Plan[None]:
    answer = yield from ask(part)
    if answer.status == TEMPORARY_REDIRECT:
        part.url = answer.headers.get("location")
        yield from ask(part)
    if part.replaced:
        raise UnexpectedAnswer("The alias was moved to another version meanwhile; start again.")
    if part.kept() != part.size:
        raise UnexpectedAnswer(
            f"{part.kept()} of {part.size} bytes came, then the answer ended; start again to go on."
        )


def _put_in_place(part: _Part, digest: str, target: Path) -> None:
    if (found := _sha256(part.file)) != digest:
        part.file.unlink()
        raise DigestMismatch(
            f"What came has the SHA-256 {found}, promised was {digest}. Nothing was kept; start again."
        )
    with part.file.open("rb") as content:
        os.fsync(content.fileno())
    part.file.replace(target)


def _promised(described: Answer) -> tuple[str, str, int]:
    """ETag, SHA-256 in hexadecimal, and size."""
    etag = described.headers.get("etag", "")
    algorithm, _, digest = etag.strip('"').partition(":")
    length = described.headers.get("content-length", "")
    if algorithm != "sha256" or not _HEXADECIMAL.fullmatch(digest) or not length.isdigit():
        raise UnexpectedAnswer(
            "The service does not say which digest the checkpoint has; nothing was fetched."
        )
    return etag, digest, int(length)


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
