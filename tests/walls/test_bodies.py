"""Bodies of any bytes under any media type: an answer of the API's own, and never an error of its own."""

import asyncio

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.problems import MEDIA_TYPE
from tests.app.running import Serving
from tests.app.world import World
from tests.walls.test_untrusted_files import anything

CALLS = [
    ("POST", "/v1/deletion-requests"),
    ("POST", "/v1/instance-lists"),
    ("POST", "/v1/lookups"),
    ("POST", "/v1/models"),
    ("PATCH", "/v1/webhooks/01890000-0000-7000-8000-000000000000"),
    ("PUT", "/v1/models/reader/retention"),
    ("POST", "/opendsr/v2/opendsr_requests"),
    ("POST", "/v1/datasets/scans/identities"),
]
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


@pytest.mark.anyio
async def test_whatever_is_sent_is_answered_with_a_problem(served: Serving, world: World) -> None:
    world.ready_model()
    headers = {"Authorization": f"Bearer {world.key('acme', 'admin')}"}
    with httpx.Client(base_url=served.url, headers=headers) as client:

        @settings(max_examples=250, deadline=None, derandomize=True, database=None)
        @given(st.sampled_from(CALLS), media, bodies)
        def send(call: tuple[str, str], media_type: str, body: bytes) -> None:
            answer = client.request(*call, content=body, headers={"Content-Type": media_type})
            assert 400 <= answer.status_code < 500, answer.text
            assert answer.headers["content-type"] == MEDIA_TYPE
            assert answer.json()["detail"].endswith(".")

        await asyncio.to_thread(send)
    assert world.run("SELECT count(*) FROM deletion_requests") == 0
