"""Checkpoints that are encrypted at rest come and go over HTTP as they are, ranges included."""

import hashlib
from pathlib import Path

import httpx
import pytest

from app.core.settings import Settings
from app.core.storage import Storage
from tests.app.world import RECIPE, World

WEIGHTS = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(20_000))
URL = "/v1/models/fresh/versions/1/checkpoint"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    (tmp_path / "master").write_text("ab" * 32)
    keys = {"master_key_file": str(tmp_path / "master"), "key_store_url": f"file://{tmp_path}/keys"}
    return settings.model_copy(update=keys)


async def test_up_and_down(
    client: httpx.AsyncClient, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ready_model(checkpoint=b"stored before encryption was switched on")
    tasks = [{"name": "digit", "kind": "classification", "outputs": 2}]
    body = {"name": "fresh", "network": {"kind": "mlp"}, "tasks": tasks, "dataset": "scans", "recipe": RECIPE}
    assert (await client.post("/v1/models", json=body)).status_code == 201
    assert (await client.put(URL, content=WEIGHTS)).status_code == 202
    world.run("UPDATE model_versions SET state = 'published' WHERE state = 'pending'")
    stored = [file.read_bytes() for file in (tmp_path / "storage").rglob("*") if file.is_file()]
    assert len(stored) == 2
    assert not any(WEIGHTS[:32] in each for each in stored)

    def elsewhere(*_: object) -> str:
        return "https://bucket/object"

    monkeypatch.setattr(Storage, "presigned_url", elsewhere)
    whole = await client.get(URL)
    assert (whole.status_code, whole.content) == (200, WEIGHTS)
    part = await client.get(URL, headers={"Range": "bytes=262100-262200"})
    assert (part.status_code, part.content) == (206, WEIGHTS[262100:262201])
    assert part.headers["content-range"] == f"bytes 262100-262200/{len(WEIGHTS)}"
    monkeypatch.undo()
    old = await client.get("/v1/models/reader/versions/1/checkpoint")
    assert old.content == b"stored before encryption was switched on"

    for key in (tmp_path / "keys").rglob("*"):
        if key.is_file() and key.name != "identity":
            key.unlink()
    lost = await client.get(URL)
    assert (lost.status_code, lost.json()["code"]) == (503, "checkpoint_unreadable")
