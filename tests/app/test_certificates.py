"""Certificates over HTTP: signed JSON, a page, and clear refusals."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from app.core.settings import Settings
from app.core.signing import configured_signer
from app.core.storage import Storage
from app.relay.certification import Certifier
from lethe.certificate import verify_certificate
from lethe.findings import NotVerified
from lethe.keys import read_keys
from tests.app.conftest import calling
from tests.app.world import World
from tests.database import Database

pytestmark = pytest.mark.anyio
BODY = {
    "instances": ["scan-1", "scan-2"],
    "tasks": ["digit"],
    "regulation": "gdpr",
    "reference": "<b>case</b>",
}


def figures(before: float, after: float, n: int = 60) -> dict[str, Any]:
    return {
        when: {"value": value, "low": value - 3, "high": value + 3, "n": n}
        for when, value in (("before", before), ("after", after))
    }


def report(requests: list[str]) -> dict[str, Any]:
    """As the worker writes it."""
    attack = {"auc": 0.52, "standard_error": 0.03, "members": 60, "non_members": 60, "tpr_at_1_fpr": None}
    task = {
        "metric": "accuracy",
        "named": True,
        "forget": figures(98, 61),
        "retain": figures(98, 97),
        "holdout": figures(60, 59),
        "unnamed_same_instances": None,
        "membership": {"before": attack | {"auc": 0.8}, "after": attack},
    }
    return {
        "tasks": {"digit": task, "parity": task | {"named": False, "forget": None, "membership": None}},
        "uis": 3.0,
        "requests": [
            {"reference": each, "task": "digit", "instances": 2, "measured_on": "batch of 60", "forget": None}
            for each in requests
        ],
        "gates": {
            "bounds": {"retained_drop": 5.0, "forget_excess": 10.0},
            "passed": True,
            "missed": [],
            "decided": [{"gate": "retained_drop", "task": "digit", "kept": True, "says": "Lost 1: kept."}],
            "not_measured": [{"gate": "forget_excess", "task": "digit", "says": "Too few: 2 forgotten."}],
        },
        "rungs": [
            {
                "rung": rung,
                "method": "interference_aware",
                "scale": scale,
                "why": None,
                "attempt": 1,
                "at": "2026-11-24T00:00:00+00:00",
                "result": result,
                "guarantee": "empirical",
                "figures": [],
                "why_not": why_not,
                "severity": 0.0,
                "only_earlier": False,
                "came_back": back,
            }
            for rung, scale, result, why_not, back in (
                ("first", 1.0, "missed", "It came back.", [["another-request", "digit"]]),
                ("unlearn_again", 1.0, "published", None, []),
            )
        ],
        "earlier_levels": [
            {
                "task": "digit",
                "references": ["another-request"],
                "instances": 60,
                "risen": False,
                "forget": None,
            }
        ],
        "earlier_gone": [{"reference": "another-request", "task": "digit", "labels": 3}],
        "run": {
            "requests": requests,
            "method": "interference_aware",
            "guarantee": "empirical",
            "seed": 1,
            "holdout_seed": 2,
            "steps": 10,
            "passes": 400,
            "versions": {"lethe": "0.1.0"},
            "device": "cuda (a GPU)",
            "precision": "bfloat16",
            "residuals": [],
        },
    }


async def carry_out(client: httpx.AsyncClient, world: World, body: dict[str, Any]) -> dict[str, Any]:
    """A request, and a worker that carries it out (its children, when it names a data set)."""
    made: dict[str, Any] = (await client.post("/v1/deletion-requests", json=body)).json()
    parts = made.get("children") or [made["id"]]
    for part in parts:
        job = world.run("SELECT job_id FROM deletion_requests WHERE id = :id", id=part)
        world.claim(job)
        world.publish(job)
        world.run(
            "UPDATE model_versions SET report = CAST(:report AS jsonb) WHERE job_id = :job",
            report=json.dumps(report([part])),
            job=job,
        )
    return made


def certify(database: Database, settings: Settings) -> int:
    """As the relay does."""
    engine = create_engine(database.relay_url)
    signer = configured_signer(settings)
    assert signer is not None
    certifier = Certifier(sessionmaker(engine), Storage(settings.storage_url), signer, "http://lethe")
    made = certifier.certify_unlearning()
    certifier.certify_parts()
    engine.dispose()
    return made


async def known_keys(client: httpx.AsyncClient, folder: Path) -> list[Any]:
    file = folder / "keys.json"
    file.write_bytes((await client.get("/.well-known/lethe-signing-keys.json")).content)
    return read_keys([file])


async def test_every_refusal_says_why(
    client: httpx.AsyncClient, app: FastAPI, world: World, database: Database, settings: Settings
) -> None:
    world.ready_model()

    async def refusal(request: object, **query: str) -> tuple[int, str, str | None]:
        answer = await client.get(f"/v1/deletion-requests/{request}/certificate", params=query)
        assert answer.headers["content-type"] == "application/problem+json"
        return answer.status_code, answer.json()["code"], answer.headers.get("retry-after")

    made = (await client.post("/v1/deletion-requests", json=BODY | {"model": "reader"})).json()
    assert await refusal(made["id"]) == (409, "request_not_finished", "2")
    assert await refusal(world.tenant("other")) == (404, "deletion_request_not_found", None)
    await client.post(f"/v1/deletion-requests/{made['id']}/cancel")
    assert await refusal(made["id"]) == (409, "request_not_carried_out", None)
    done = await carry_out(client, world, BODY | {"model": "reader"})
    assert await refusal(done["id"]) == (409, "certificate_not_ready", "2")
    assert certify(database, settings) == 1
    assert await refusal(done["id"], statement="disposal") == (409, "versions_not_disposed", None)
    async with calling(app, world.key("other", "admin")) as other:
        answer = await other.get(f"/v1/deletion-requests/{done['id']}/certificate")
        assert answer.json()["code"] == "deletion_request_not_found"
    back = await client.put(
        "/v1/models/reader/aliases/latest", json={"version": 1, "reason": "a worse model than before"}
    )
    assert back.status_code == 200, back.text
    assert await refusal(done["id"]) == (409, "request_not_finished", "2")


async def test_a_certificate_is_handed_out_as_it_was_signed(
    client: httpx.AsyncClient, world: World, database: Database, settings: Settings, tmp_path: Path
) -> None:
    world.ready_model()
    made = await carry_out(client, world, BODY | {"model": "reader"})
    certify(database, settings)
    answer = await client.get(f"/v1/deletion-requests/{made['id']}/certificate")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    file = tmp_path / "certificate.json"
    file.write_bytes(answer.content)
    text = verify_certificate(file, await known_keys(client, tmp_path)).text()
    assert made["id"] in text
    assert "98.0 (95 %: 95.0 to 101.0) before and 61.0" in text
    proven, _, rest = text.partition("Stated by the service")
    stated, _, not_proven = rest.partition("NOT proven:")
    assert "Not a byte was changed" in proven
    assert made["id"] not in proven  # that it was done is the service's word, and stands under that
    assert "Bound of the policy: Lost 1: kept." in stated
    assert "Too few: 2 forgotten." not in stated
    assert "Too few: 2 forgotten." in not_proven
    predicate = json.loads(base64.b64decode(answer.json()["payload"]))["predicate"]
    assert [(each["rung"], each["result"]) for each in predicate["tried"]] == [
        ("first", "missed"),
        ("unlearn_again", "published"),
    ]
    earlier = predicate["earlier"]
    assert (earlier["requests_measured"], earlier["requests_that_came_back"]) == (1, 1)
    assert earlier["labels_no_longer_checkable"] == 3
    assert "another-request" not in json.dumps(predicate)
    page = (await client.get(f"/v1/deletion-requests/{made['id']}/certificate?format=html")).text
    assert "unlearn again (interference_aware): published" in page
    assert "1 had come back" in page


async def test_what_an_older_key_signed_still_verifies(
    client: httpx.AsyncClient, world: World, database: Database, settings: Settings, tmp_path: Path
) -> None:
    """With the keys that the service shows after another has taken its place; with the new one alone, not."""
    world.ready_model()
    rotated = settings.model_copy(update={"signing_key": SecretStr("77" * 32)})
    files = {}
    for instance, signing in {"scan-1": settings, "scan-2": rotated}.items():
        made = await carry_out(client, world, {"model": "reader", "instances": [instance], "tasks": "all"})
        assert certify(database, signing) == 1
        files[instance] = tmp_path / f"{instance}.json"
        certificate = await client.get(f"/v1/deletion-requests/{made['id']}/certificate")
        files[instance].write_bytes(certificate.content)
    keys = await known_keys(client, tmp_path)
    signed = {instance: json.loads(file.read_bytes())["signatures"] for instance, file in files.items()}
    assert len({each[0]["keyid"] for each in signed.values()}) == 2
    for file in files.values():
        verify_certificate(file, keys)
    newest = [key for key in keys if key.keyid == signed["scan-2"][0]["keyid"]]
    verify_certificate(files["scan-2"], newest)
    with pytest.raises(NotVerified):
        verify_certificate(files["scan-1"], newest)


async def test_a_certificate_says_who_let_a_version_through_and_why(
    client: httpx.AsyncClient, world: World, database: Database, settings: Settings, tmp_path: Path
) -> None:
    world.ready_model()
    made = await carry_out(client, world, BODY | {"model": "reader"})
    decision = {
        "decision": "approved",
        "by": "key:abc",
        "reason": "<looked at it>",
        "at": "2026-11-24T09:00:00Z",
    }
    world.run(
        "UPDATE model_versions SET report = jsonb_set(report, '{gates}', report -> 'gates' ||"
        " CAST(:changes AS jsonb)) WHERE number = 2",
        changes=json.dumps({"missed": ["It lost 9."], "decision": decision, "approved_at": decision["at"]}),
    )
    certify(database, settings)
    url = f"/v1/deletion-requests/{made['id']}/certificate"
    file = tmp_path / "certificate.json"
    file.write_bytes((await client.get(url)).content)
    text = " ".join(verify_certificate(file, await known_keys(client, tmp_path)).text().split())
    assert "key:abc approved the version at 2026-11-24T09:00:00Z, because: <looked at it>" in text
    page = (await client.get(f"{url}?format=html")).text
    assert "a person let the version through on 24 November 2026 (key:abc): &lt;looked at it&gt;" in page


async def test_a_request_on_a_data_set_has_a_bundle(
    client: httpx.AsyncClient, world: World, database: Database, settings: Settings, tmp_path: Path
) -> None:
    world.ready_model(name="one")
    world.ready_model(name="two")
    made = await carry_out(client, world, BODY | {"dataset": "scans"})
    assert certify(database, settings) == 2
    answer = await client.get(f"/v1/deletion-requests/{made['id']}/certificate")
    assert answer.status_code == 200, answer.text
    assert answer.json()["request"] == made["id"]
    file, keys = tmp_path / "bundle.json", await known_keys(client, tmp_path)
    file.write_bytes(answer.content)
    text = verify_certificate(file, keys).text()
    assert "the model one" in text
    assert "the model two" in text
    assert "That the bundle is complete" in text
    other = await carry_out(client, world, BODY | {"model": "one", "instances": ["scan-5"]})
    certify(database, settings)
    alien = (await client.get(f"/v1/deletion-requests/{other['id']}/certificate")).content
    mixed = answer.content.replace(b'{"certificates":[', b'{"certificates":[' + alien + b",")
    for changed in (mixed, answer.content.replace(made["id"].encode(), other["id"].encode())):
        file.write_bytes(changed)
        with pytest.raises(NotVerified):
            verify_certificate(file, keys)
    page = await client.get(f"/v1/deletion-requests/{made['id']}/certificate", params={"format": "html"})
    assert page.text.count("<article>") == 2


async def test_one_file_has_all_that_was_signed_and_nothing_can_be_left_out(
    client: httpx.AsyncClient, world: World, database: Database, settings: Settings, tmp_path: Path
) -> None:
    for name in ("one", "two", "three"):
        world.ready_model(name=name)
    url = "/v1/deletion-requests"
    made = (await client.post(url, json=BODY | {"dataset": "scans"})).json()
    jobs = [
        world.run("SELECT job_id FROM deletion_requests WHERE id = :id", id=part) for part in made["children"]
    ]

    async def refusal(request: str) -> str:
        code: str = (await client.get(f"{url}/{request}/certificates")).json()["code"]
        return code

    def succeed(job: Any, part: str) -> None:
        world.claim(job)
        world.publish(job)
        world.run(
            "UPDATE model_versions SET report = CAST(:report AS jsonb) WHERE job_id = :job",
            report=json.dumps(report([part])),
            job=job,
        )

    for job, part in zip(jobs[:2], made["children"], strict=False):
        succeed(job, part)
    certify(database, settings)
    assert await refusal(made["id"]) == "request_not_finished"
    world.claim(jobs[2])
    world.move_requests(jobs[2], "failed")
    world.finish(jobs[2], "failed")
    assert await refusal(made["id"]) == "certificate_not_ready"
    assert await refusal(made["children"][2]) == "request_not_carried_out"
    certify(database, settings)
    certify(database, settings)
    answer = await client.get(f"{url}/{made['id']}/certificates")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/vnd.in-toto.bundle")
    assert f'filename="deletion-{made["id"]}.intoto.jsonl"' in answer.headers["content-disposition"]
    stated, first, second = answer.content.splitlines(keepends=True)
    file, keys = tmp_path / "bundle.intoto.jsonl", await known_keys(client, tmp_path)

    def verified(*lines: bytes) -> str:
        file.write_bytes(b"".join(lines))
        return verify_certificate(file, keys).text()

    proven, _, not_proven = verified(second, stated, first).partition("NOT proven:")
    assert "Line 2: Request " + made["id"] in proven.partition("Stated by the service")[2]
    assert "Line 3: Not a byte was changed" in proven
    assert "The certificate of each of the 2 parts that were carried out is here." in proven
    assert f"the model three: part {made['children'][2]} is failed" in not_proven

    alone = (await client.get(f"{url}/{made['children'][0]}/certificates")).content
    assert alone == first
    assert f"the other parts of request {made['id']}" in verified(first)
    other = await carry_out(client, world, BODY | {"model": "one", "instances": ["scan-5"]})
    certify(database, settings)
    alien = (await client.get(f"{url}/{other['id']}/certificates")).content
    for lines, reason in (
        ((stated, first), f"lacks the certificate of part {made['children'][1]}"),
        ((first, second), "no statement that names them"),
        ((stated, first, second, alien), "Line 4 of the bundle is no part"),
        ((stated, first, second, second), "twice"),
        ((stated, first, second[:-1]), "its end was cut off"),
        ((stated, first, b"\n", second), "Line 3 of the bundle cannot be read"),
        ((stated, first, second.replace(b'"sig":"', b'"sig":"A', 1)), "Line 3 of the bundle"),
        (
            (stated.replace(b'"payload":"ey', b'"payload":"fy', 1), first, second),
            "line 1 of the bundle was changed",
        ),
    ):
        with pytest.raises(NotVerified, match=reason):
            verified(*lines)

    # What failed is tried again: the statement no longer holds, and another takes its place.
    assert (await client.post(f"{url}/{made['id']}/retry")).status_code == 200
    assert await refusal(made["id"]) == "request_not_finished"
    again = world.run("SELECT job_id FROM deletion_requests WHERE id = :id", id=made["children"][2])
    succeed(again, made["children"][2])
    assert await refusal(made["id"]) == "certificate_not_ready"
    certify(database, settings)
    whole = (await client.get(f"{url}/{made['id']}/certificates")).content
    assert len(whole.splitlines()) == 4
    assert "each of the 3 parts" in verified(whole)
    assert world.run("SELECT count(*) FROM certificates WHERE kind = 'parts'") == 2


@pytest.mark.parametrize("how", ["its job is retried", "its model is taken back"])
async def test_a_part_that_is_under_way_again_has_the_statement_of_the_parts_wait(
    client: httpx.AsyncClient,
    world: World,
    database: Database,
    settings: Settings,
    tmp_path: Path,
    how: str,
) -> None:
    """What was signed before stays in the database, and is handed out no more."""
    for name in ("one", "two"):
        world.ready_model(name=name)
    url = "/v1/deletion-requests"
    made = (await client.post(url, json=BODY | {"dataset": "scans"})).json()
    first, second = made["children"]
    job_of = "SELECT job_id FROM deletion_requests WHERE id = :id"
    for part in (first, second):
        world.claim(world.run(job_of, id=part))
    world.publish(world.run(job_of, id=first))
    failed = world.run(job_of, id=second)
    world.move_requests(failed, "failed")
    world.finish(failed, "failed")
    certify(database, settings)

    async def bundled() -> tuple[int, Any]:
        answer = await client.get(f"{url}/{made['id']}/certificates")
        return answer.status_code, answer.content if answer.status_code == 200 else answer.json()["code"]

    status, before = await bundled()
    assert status == 200
    if how == "its job is retried":
        assert (await client.post(f"/v1/jobs/{failed}/retry")).status_code == 202
        again = second
    else:
        body = {"version": 1, "reason": "a worse model than before"}
        assert (await client.put("/v1/models/one/aliases/latest", json=body)).status_code == 200
        again = first
    assert await bundled() == (409, "request_not_finished")
    world.claim(world.run(job_of, id=again))
    number = world.publish(world.run(job_of, id=again))
    assert await bundled() == (409, "certificate_not_ready")
    alone = f"{url}/{again}/certificate"
    assert (await client.get(alone)).status_code == 409
    certify(database, settings)
    signed = json.loads(base64.b64decode((await client.get(alone)).json()["payload"]))
    assert signed["predicate"]["result"]["version"] == number
    status, after = await bundled()
    assert status == 200
    assert after.splitlines()[0] != before.splitlines()[0]
    file = tmp_path / "bundle.intoto.jsonl"
    file.write_bytes(after)
    verify_certificate(file, await known_keys(client, tmp_path))
    assert world.run("SELECT count(*) FROM certificates WHERE kind = 'parts'") == 2


class _Page(HTMLParser):
    """Which elements there are, whether they are closed, and what they would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in ("meta", "br", "line", "circle", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def test_the_page_shows_what_was_signed_and_loads_nothing(
    client: httpx.AsyncClient, world: World, database: Database, settings: Settings
) -> None:
    world.ready_model()
    made = await carry_out(client, world, BODY | {"model": "reader"})
    world.run(
        "UPDATE deletion_requests SET acknowledged_at = now(), extension = CAST(:extension AS jsonb)",
        extension=json.dumps(
            {
                "reason": "More models",
                "notified_at": "2026-11-20T09:00:00Z",
                "previous_due_at": "2026-12-01T09:00:00Z",
            }
        ),
    )
    certify(database, settings)
    url = f"/v1/deletion-requests/{made['id']}/certificate"
    answer = await client.get(url, headers={"Accept": "text/html,application/xhtml+xml"})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    page = _Page()
    page.feed(answer.text)
    page.close()
    assert page.open == []
    assert "svg" in page.seen
    assert page.loads == []
    assert "script" not in page.seen
    assert "<b>case</b>" not in answer.text
    assert "&lt;b&gt;case&lt;/b&gt;" in answer.text
    assert "in time, due by" in answer.text
    assert "put off from 1 December 2026; notice was given on 20 November 2026: More models" in answer.text
    assert "What this certificate does not prove" in answer.text
    assert "<li>Lost 1: kept.</li>" in answer.text
    assert "<li>Too few: 2 forgotten.</li>" in answer.text
    assert "By this score, the forgotten data cannot be told from data never seen" in answer.text
    assert re.search(r"98\.0 → 61\.0", answer.text)
    assert "; on cuda (a GPU), in bfloat16</dd>" in answer.text
    assert settings.hash_key_id in answer.text
    asked = await client.get(url, params={"format": "json"}, headers={"Accept": "text/html"})
    assert asked.headers["content-type"] == "application/json"
