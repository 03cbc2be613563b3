"""Checkpoints go in whole or not at all, and come out whole or in part."""

import asyncio
import base64
import hashlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from app.core.storage import Storage
from app.registered_models import upload
from tests.app.conftest import calling
from tests.app.running import Serving
from tests.app.test_models import GOOD
from tests.app.world import World

pytestmark = pytest.mark.anyio

PUT = "/v1/models/reader/versions/1/checkpoint"
WEIGHTS = bytes(range(256)) * 20_000  # 5 MB: several blocks


def digest_of(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def stored_files(world: World) -> list[Path]:
    root = Path(world.settings.storage_url.removeprefix("file://"))
    return [file for file in root.rglob("*") if file.is_file()]


@pytest.fixture
async def registered(client: httpx.AsyncClient, world: World) -> httpx.AsyncClient:
    world.ready_dataset()
    assert (await client.post("/v1/models", json=GOOD)).status_code == 201
    return client


async def in_pieces(content: bytes, size: int = 70_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def test_an_upload_is_stored_and_validated(registered: httpx.AsyncClient, world: World) -> None:
    answer = await registered.put(PUT, content=WEIGHTS, headers={"Repr-Digest": digest_of(WEIGHTS)})
    assert answer.status_code == 202, answer.text
    version = answer.json()
    assert version["state"] == "pending"
    assert version["size"] == len(WEIGHTS)
    assert version["digest"] == f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}"
    model = (await registered.get("/v1/models/reader")).json()
    assert model["status"] == "validating"
    assert (await registered.get(f"/v1/jobs/{model['job']}")).json()["kind"] == "validate_model"
    path = world.run("SELECT path FROM artifacts WHERE state = 'stored'")
    assert b"".join(Storage(world.settings.storage_url).read(path)) == WEIGHTS
    pending = await registered.get(PUT)
    assert (pending.status_code, pending.json()["code"]) == (409, "version_pending")
    again = await registered.put(PUT, content=WEIGHTS)
    assert (again.status_code, again.json()["code"]) == (409, "checkpoint_exists")
    assert len(stored_files(world)) == 1

    world.run("UPDATE registered_models SET status = 'rejected', error_code = 'shapes_differ'")
    world.run("UPDATE model_versions SET state = 'rejected'")
    assert (await registered.get(PUT)).json()["code"] == "version_rejected"
    better = await registered.put(PUT, content=in_pieces(WEIGHTS[:100]))
    assert better.status_code == 202, better.text
    assert (better.json()["number"], better.json()["state"], better.json()["size"]) == (1, "pending", 100)
    model = (await registered.get("/v1/models/reader")).json()
    assert (model["status"], model["error_code"]) == ("validating", None)


async def test_uploads_that_leave_nothing(
    registered: httpx.AsyncClient, world: World, subtests: pytest.Subtests
) -> None:
    settings = registered._transport.app.state.settings  # type: ignore[attr-defined]
    settings.max_checkpoint_bytes = len(WEIGHTS) - 1
    short = WEIGHTS[:-2]

    async def broken() -> AsyncIterator[bytes]:
        yield WEIGHTS[:3_000_000]

    cases: dict[str, tuple[bytes | AsyncIterator[bytes], dict[str, str], int, str]] = {
        "another digest": (short, {"Repr-Digest": digest_of(b"x")}, 422, "digest_mismatch"),
        "a malformed digest": (short, {"Repr-Digest": "sha-256=abc"}, 422, "digest_invalid"),
        "a short digest": (short, {"Repr-Digest": "sha-256=:YWJj:"}, 422, "digest_invalid"),
        "too large, announced": (WEIGHTS, {}, 413, "checkpoint_too_large"),
        "too large, in pieces": (in_pieces(WEIGHTS), {}, 413, "checkpoint_too_large"),
        "shorter than announced": (broken(), {"Content-Length": "4000000"}, 400, "content_length_mismatch"),
    }
    for name, (content, headers, status, code) in cases.items():
        with subtests.test(name):
            answer = await registered.put(PUT, content=content, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
            assert stored_files(world) == []
            assert (await registered.get("/v1/models/reader")).json()["status"] == "awaiting_checkpoint"
    assert world.run("SELECT count(*) FROM artifacts WHERE state <> 'deleted'") == 0
    assert world.run("SELECT count(*) FROM model_versions") == 0
    nobody = await registered.put("/v1/models/nobody/versions/1/checkpoint", content=b"x")
    assert (nobody.status_code, nobody.json()["code"]) == (404, "model_not_found")
    assert (await registered.put("/v1/models/reader/versions/2/checkpoint", content=b"x")).status_code == 405


async def test_an_upload_that_stalls_is_given_up(
    registered: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "STALL_SECONDS", 0.05)

    async def stalls() -> AsyncIterator[bytes]:
        yield WEIGHTS
        await asyncio.sleep(30)

    answer = await registered.put(PUT, content=stalls())
    assert (answer.status_code, answer.json()["code"]) == (400, "upload_stalled")
    assert stored_files(world) == []


async def test_a_storage_that_takes_nothing_is_told_of(
    registered: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Storage, "put", full)
    answer = await registered.put(PUT, content=WEIGHTS)
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert (await registered.get("/v1/models/reader")).json()["status"] == "awaiting_checkpoint"


async def test_a_checkpoint_that_cannot_be_read_is_no_empty_download(
    client: httpx.AsyncClient, world: World
) -> None:
    world.ready_model(checkpoint=WEIGHTS)
    path = world.run("SELECT path FROM artifacts WHERE state = 'stored'")
    Storage(world.settings.storage_url).delete(path)
    answer = await client.get(PUT)
    assert (answer.status_code, answer.json()["code"]) == (503, "checkpoint_unreadable")


async def test_a_client_that_goes_away_leaves_nothing(served: Serving, world: World) -> None:
    world.ready_dataset()
    key = world.key("acme", "admin")
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=served.url, headers=headers) as client:
        assert (await client.post("/v1/models", json=GOOD)).status_code == 201
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        head = (
            f"PUT {PUT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 9000000\r\n\r\n"
        )
        connection.sendall(head.encode() + WEIGHTS)
        await _until(lambda: world.run("SELECT count(*) FROM artifacts") == 1)
    await _until(lambda: world.run("SELECT state FROM artifacts") == "deleted")
    assert stored_files(world) == []
    assert world.run("SELECT count(*) FROM model_versions") == 0


async def _until(condition: "object", seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # type: ignore[arg-type]
            await asyncio.sleep(0.01)


async def test_an_upload_and_download_over_the_wire(served: Serving, world: World) -> None:
    world.ready_dataset()
    headers = {"Authorization": f"Bearer {world.key('acme', 'admin')}"}
    async with httpx.AsyncClient(base_url=served.url, headers=headers, timeout=30) as client:
        assert (await client.post("/v1/models", json=GOOD)).status_code == 201
        sent = await client.put(PUT, content=in_pieces(WEIGHTS), headers={"Repr-Digest": digest_of(WEIGHTS)})
        assert sent.status_code == 202, sent.text
        world.run("UPDATE model_versions SET state = 'published'")
        got = await client.get(PUT)
        assert got.status_code == 200
        assert got.content == WEIGHTS
        assert got.headers["content-length"] == str(len(WEIGHTS))
        assert got.headers["repr-digest"] == digest_of(WEIGHTS)


async def test_downloads_in_part(client: httpx.AsyncClient, world: World, subtests: pytest.Subtests) -> None:
    world.ready_model(checkpoint=WEIGHTS)
    whole = await client.get(PUT)
    etag, size = whole.headers["etag"], len(WEIGHTS)
    assert whole.content == WEIGHTS
    assert etag == f'"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}"'
    assert whole.headers["accept-ranges"] == "bytes"
    assert 'filename="reader-v1.safetensors"' in whole.headers["content-disposition"]
    ranges: dict[str, tuple[int, bytes]] = {
        "bytes=0-0": (206, WEIGHTS[:1]),
        "bytes=10-19": (206, WEIGHTS[10:20]),
        "bytes=4000000-": (206, WEIGHTS[4000000:]),
        "bytes=-5": (206, WEIGHTS[-5:]),
        f"bytes=-{size + 5}": (206, WEIGHTS),
        f"bytes=5-{size + 5}": (206, WEIGHTS[5:]),
        "bytes=0-1,5-6": (200, WEIGHTS),
        "bytes=7-3": (200, WEIGHTS),
        "items=0-1": (200, WEIGHTS),
        "bytes=-": (200, WEIGHTS),
        "bytes=" + "9" * 40 + "-": (200, WEIGHTS),
    }
    for header, (status, content) in ranges.items():
        with subtests.test(header):
            part = await client.get(PUT, headers={"Range": header})
            assert part.status_code == status
            assert part.content == content
            assert part.headers["content-length"] == str(len(content))
            if status == 206:
                start = WEIGHTS.find(content) if len(content) > 256 else None
                first, _, total = part.headers["content-range"].removeprefix("bytes ").partition("/")
                assert total == str(size)
                assert start is None or int(first.split("-")[0]) % 256 == start % 256
    for header in (f"bytes={size}-", "bytes=-0"):
        outside = await client.get(PUT, headers={"Range": header})
        assert (outside.status_code, outside.headers["content-range"]) == (416, f"bytes */{size}")
    kept = await client.get(PUT, headers={"Range": "bytes=0-1", "If-Range": etag})
    assert kept.status_code == 206
    changed = await client.get(PUT, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert changed.status_code == 200
    for known in (etag, f'"x", W/{etag}', "*"):
        same = await client.get(PUT, headers={"If-None-Match": known, "Range": "bytes=0-1"})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    described = await client.head(PUT)
    assert (described.status_code, described.content) == (200, b"")
    assert described.headers["content-length"] == str(size)
    by_alias = await client.get("/v1/models/reader/versions/latest/checkpoint")
    assert by_alias.headers["etag"] == etag


async def test_who_may_have_which_version(client: httpx.AsyncClient, world: World) -> None:
    model = world.ready_model()
    head = world.run("SELECT head_version_id FROM registered_models")
    app = client._transport.app  # type: ignore[attr-defined]
    async with calling(app, world.key("acme", "models:read")) as reader:
        assert (await reader.get(PUT)).status_code == 200
        world.run("UPDATE model_versions SET state = 'superseded' WHERE id = :v", v=head)
        refused = await reader.get(PUT)
        assert (refused.status_code, refused.json()["scope"]) == (403, "admin")
        assert (await client.get(PUT)).status_code == 200
        world.run("UPDATE model_versions SET state = 'quarantined' WHERE id = :v", v=head)
        withdrawn = await client.get(PUT)
        assert (withdrawn.status_code, withdrawn.json()["code"]) == (410, "version_quarantined")
        assert withdrawn.json()["since"].endswith("Z")
        world.run("UPDATE model_versions SET state = 'deleted' WHERE id = :v", v=head)
        gone = await client.get(PUT)
        assert (gone.status_code, gone.json()["code"]) == (410, "version_deleted")
        assert (await client.head(PUT)).status_code == 410
        assert (await reader.put(PUT, content=b"x")).status_code == 403
    assert model


async def test_object_stores_are_sent_to(
    client: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ready_model()
    url = "https://bucket.example/signed?x=1"
    monkeypatch.setattr(Storage, "presigned_url", lambda *_: url)
    answer = await client.get(PUT, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, url)
    assert (await client.head(PUT)).status_code == 200
