"""Registering data."""

from pathlib import Path

import httpx
import pytest

from tests.app.world import World

pytestmark = pytest.mark.anyio


@pytest.fixture
def root(world: World, tmp_path: Path) -> str:
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    root = f"file://{tmp_path}/data"
    world.tenant("acme", root)
    return root


async def test_a_data_set_is_registered_and_validated(
    client: httpx.AsyncClient, world: World, root: str
) -> None:
    sent = {"name": "scans", "url": f"{root}/train.npz", "holdout_url": f"{root}/holdout.npz"}
    answer = await client.post("/v1/datasets", json=sent)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == "/v1/datasets/scans"
    made = answer.json()
    assert made["status"] == "validating"
    job = (await client.get(f"/v1/jobs/{made['job']}")).json()
    assert (job["kind"], job["status"], job["dataset"]) == ("validate_dataset", "queued", "scans")
    assert world.run("SELECT count(*) FROM outbox") == 1
    assert (await client.get("/v1/datasets/scans")).json() == made
    assert (await client.get(f"/v1/datasets/{made['id']}")).json() == made
    assert (await client.get("/v1/datasets")).json() == {"data": [made], "has_more": False}

    again = await client.post("/v1/datasets", json=sent)
    assert (again.status_code, again.json()) == (200, made)
    other = await client.post("/v1/datasets", json=sent | {"url": f"{root}/other.npz"})
    assert (other.status_code, other.json()["code"]) == (409, "dataset_exists")

    world.run("UPDATE datasets SET status = 'rejected', error_code = 'data_ids_repeat', error_detail = 'x'")
    shown = (await client.get("/v1/datasets/scans")).json()
    assert (shown["status"], shown["error_code"]) == ("rejected", "data_ids_repeat")
    better = await client.post("/v1/datasets", json=sent | {"url": f"{root}/other.npz"})
    assert (better.status_code, better.json()["status"]) == (202, "validating")
    assert better.json()["url"].endswith("other.npz")
    assert better.json()["error_code"] is None
    assert better.json()["job"] != made["job"]


async def test_data_that_is_refused(
    client: httpx.AsyncClient, world: World, root: str, subtests: pytest.Subtests
) -> None:
    good = {"name": "scans", "url": f"{root}/train.npz"}
    cases: dict[str, tuple[dict[str, object], str]] = {
        "outside": ({"url": "file:///etc/passwd"}, "url_not_allowed"),
        "a neighbour": ({"url": f"{root}-private/a.npz"}, "url_not_allowed"),
        "climbing": ({"url": f"{root}/../elsewhere/a.npz"}, "url_not_allowed"),
        "climbing, encoded": ({"url": f"{root}/%2e%2e/elsewhere/a.npz"}, "url_not_allowed"),
        "through a link": ({"url": f"{root}/link/a.npz"}, "url_not_allowed"),
        "another bucket": ({"url": "s3://theirs/a.npz"}, "url_not_allowed"),
        "the holdout outside": ({"holdout_url": "file:///etc/passwd"}, "url_not_allowed"),
        "another scheme": ({"url": "http://169.254.169.254/"}, "url_invalid"),
        "NUL": ({"url": f"{root}/a\x00b"}, "validation_error"),
        "impossible format": ({"format": "../arrays"}, "validation_error"),
        "unknown field": ({"holdout": "x"}, "validation_error"),
        "a name with a slash": ({"name": "a/b"}, "validation_error"),
        "a name like an id": ({"name": "01890000-0000-7000-8000-000000000000"}, "validation_error"),
        "an empty name": ({"name": ""}, "validation_error"),
        "a number for a name": ({"name": 7}, "validation_error"),
    }
    for name, (changes, code) in cases.items():
        with subtests.test(name):
            answer = await client.post("/v1/datasets", json=good | changes)
            assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert world.run("SELECT count(*) FROM datasets") == 0
    for missing in ("nobody", "a%00b", "01890000-0000-7000-8000-000000000000"):
        assert (await client.get(f"/v1/datasets/{missing}")).status_code == 404
