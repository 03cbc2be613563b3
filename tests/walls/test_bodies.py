"""Bodies of any bytes under any media type: an answer of the API's own, and never an error of its own."""

import asyncio
import json
import re
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from app.core.problems import MEDIA_TYPE
from app.core.settings import Settings
from app.main import ROUTERS
from tests.app.running import Serving
from tests.app.test_isolation import BODIES, ERASURE, WANTED
from tests.app.test_models import GOOD
from tests.app.world import World
from tests.opendsr.certificate import DOMAIN, write_certificate
from tests.walls.test_untrusted_files import anything

UNKNOWN = "01890000-0000-7000-8000-000000000000"
NAMED = {"model": "reader", "dataset": "scans", "version": "1", "alias": "champion", "event_id": "1"}


def named(path: str) -> str:
    return re.sub(r"{(\w+)}", lambda found: NAMED.get(found[1], UNKNOWN), path)


# All that read a body, whatever is added to them; weights are no JSON: `test_untrusted_files` has those.
CALLS = [
    (method, named(route.path))
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute)
    for method in route.methods
    if route.body_field is not None or (method == "POST" and "opendsr" in route.path)
]
# Bodies that are carried out as they are, and are sent with some members changed.
RIGHT: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/opendsr/v2/opendsr_requests"): ERASURE,
    ("POST", "/opendsr/v2/stub/opendsr_requests"): ERASURE,
    ("POST", "/v1/datasets/scans/identities"): BODIES["POST /v1/datasets/{dataset}/identities"],
    ("POST", "/v1/deletion-requests?dry_run=true"): WANTED | {"model": "reader", "metadata": {}},
    ("POST", "/v1/models"): GOOD | {"name": "second"},
    ("POST", "/v1/api-keys"): {"name": "x", "scopes": ["models:read"], "models": ["reader"]},
    ("POST", "/v1/webhooks"): {"url": "https://example.com/", "events": ["*"], "description": "d"},
}
MULTIPART = b'--x\r\nContent-Disposition: form-data; name="instances"; filename="a"\r\n\r\n%b\r\n--x--\r\n'
bodies = st.one_of(
    st.binary(max_size=200),
    anything.map(lambda value: repr(value).encode(errors="replace")),
    st.binary(max_size=50).map(lambda content: MULTIPART % content),
    st.just(MULTIPART[:40] * 200),
    st.just(b'{"instances": [' + b'"a",' * 2_000),
    st.just(b'{"a":' * 2_000),
)
media = st.sampled_from(
    [
        "application/json",
        "application/json; charset=utf-16",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
        "text/plain",
        "",
    ]
)


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """With a certificate: without one nobody reads what is sent to OpenDSR's door."""
    key_file, certificate_file = write_certificate(tmp_path)
    configured = {"opendsr_key_file": str(key_file), "opendsr_certificate_file": str(certificate_file)}
    return settings.model_copy(update=configured | {"opendsr_domain": DOMAIN})


@pytest.mark.anyio
async def test_whatever_is_sent_is_answered_with_a_problem(served: Serving, world: World) -> None:
    world.ready_model()
    headers = {"Authorization": f"Bearer {world.key('acme', 'admin')}"}
    with httpx.Client(base_url=served.url, headers=headers) as client:

        @trying(max_examples=150, deadline=None, derandomize=True, database=None)
        @given(st.sampled_from(CALLS), media, bodies)
        def send(call: tuple[str, str], media_type: str, body: bytes) -> None:
            answer = client.request(*call, content=body, headers={"Content-Type": media_type})
            assert 400 <= answer.status_code < 500, answer.text
            assert answer.headers["content-type"] == MEDIA_TYPE
            assert answer.json()["detail"].endswith(".")

        await asyncio.to_thread(send)
    assert len(CALLS) > 25
    assert world.run("SELECT count(*) FROM deletion_requests") == 0


@pytest.mark.anyio
async def test_what_is_nearly_right_is_carried_out_or_refused(served: Serving, world: World) -> None:
    world.ready_model()
    headers = {"Authorization": f"Bearer {world.key('acme', 'admin')}"}
    answered: dict[str, set[int]] = {}
    table = "/v1/datasets/scans/identities"
    changed = st.sampled_from(sorted(RIGHT)).flatmap(
        lambda call: st.tuples(
            st.just(call),
            st.dictionaries(st.sampled_from(sorted(RIGHT[call])) | st.text(), anything, max_size=2),
        )
    )
    of_json = {"Content-Type": "application/json"}
    with httpx.Client(base_url=served.url, headers=headers) as client:
        assert client.post(table, json=RIGHT["POST", table]).is_success

        @trying(max_examples=150, deadline=None, derandomize=True, database=None)
        @given(changed)
        def send(sent: tuple[tuple[str, str], dict[str, Any]]) -> None:
            (method, path), changes = sent
            right = dict(RIGHT[method, path])
            if "opendsr" in path:
                right["subject_request_id"] = str(uuid.uuid4())
            answer = client.request(method, path, content=json.dumps(right | changes), headers=of_json)
            answered.setdefault(path, set()).add(answer.status_code)
            assert answer.status_code < 500, answer.text
            assert answer.is_success or answer.headers["content-type"] == MEDIA_TYPE

        await asyncio.to_thread(send)
    for path, statuses in answered.items():
        assert statuses & {200, 201, 202}, f"{path} never got past its checks"
        assert statuses & {400, 422}
