"""The service's calls over plain HTTP, each as it would be made with curl: no client of ours in between."""

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

CHUNK = 1024 * 1024
UNFINISHED = ("queued", "running", "cancelling", "validating", "awaiting_checkpoint")


class Refused(Exception):
    """The service said no; the message is its own sentence."""


class Client:
    """Speaks to one Lethe service with one API key."""

    def __init__(self, url: str, api_key: str) -> None:
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {api_key}"}, timeout=60)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str) -> dict[str, Any]:
        return self._answer(self._http.get(path))

    def post(self, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        return self._answer(self._http.post(path, json=body, headers=headers))

    def upload_checkpoint(self, model: str, file: Path) -> dict[str, Any]:
        """Stream the file in, with its digest (RFC 9530), so that a broken upload is refused."""

        def chunks() -> Iterator[bytes]:
            with file.open("rb") as content:
                while chunk := content.read(CHUNK):
                    yield chunk

        return self._answer(
            self._http.put(
                f"/v1/models/{model}/versions/1/checkpoint",
                content=chunks(),
                headers={"Content-Length": str(file.stat().st_size), "Repr-Digest": repr_digest(file)},
            )
        )

    def download_checkpoint(self, model: str, version: int, target: Path) -> str:
        """Stream a version into `target`, check it against `Repr-Digest`, and return the digest in hex."""
        path = f"/v1/models/{model}/versions/{version}/checkpoint"
        with self._http.stream("GET", path) as response:
            if response.is_error:
                response.read()
                self._answer(response)
            with target.open("wb") as file:
                for chunk in response.iter_bytes(CHUNK):
                    file.write(chunk)
            promised = response.headers["Repr-Digest"]
        assert repr_digest(target) == promised
        return hashlib.sha256(target.read_bytes()).hexdigest()

    def follow(self, path: str, watch: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Poll `path` until it is settled, showing each answer to `watch`."""
        while True:
            thing = self.get(path)
            watch(thing)
            if thing["status"] not in UNFINISHED:
                return thing
            time.sleep(0.2)

    def _answer(self, response: httpx.Response) -> dict[str, Any]:
        if response.is_error:
            problem = response.json()
            raise Refused(f"{response.status_code} {problem['code']}: {problem['detail']}")
        answer: dict[str, Any] = response.json()
        return answer


def repr_digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
    return f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
