"""A checkpoint arrives whole or not at all, however often the connection breaks."""

import hashlib
from pathlib import Path

import pytest

from lethe import LetheError, errors
from tests.client.calling import Call, at_once, awaited
from tests.client.scripted import Heard, Reply, Script, ScriptedServer, problem, said

CONTENT = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ETAG = f'"sha256:{DIGEST}"'
SAID = {"ETag": ETAG, "Content-Length": str(len(CONTENT))}
both = pytest.mark.parametrize("call", [at_once, awaited])


def serving(content: bytes = CONTENT, cuts: tuple[int, ...] = ()) -> Script:
    """Ranges as RFC 9110 has them. `cuts`: after how many bytes the first answers break off."""
    left = list(cuts)

    def script(heard: Heard) -> Reply:
        if heard.method == "HEAD":
            return Reply(200, headers=SAID)
        cut = left.pop(0) if left else None
        asked = heard.headers.get("range")
        if asked is None or heard.headers.get("if-range", ETAG) != ETAG:
            return Reply(200, content, {"ETag": ETAG}, cut)
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        where = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return Reply(206, content[start:], {"ETag": ETAG, "Content-Range": where}, cut)

    return script


@both
def test_a_broken_download_goes_on_where_it_stopped(call: Call, tmp_path: Path) -> None:
    target = tmp_path / "m.safetensors"
    # More breaks than attempts: what gets on is not given up.
    with ScriptedServer(script=serving(cuts=(300_000, 200_000, 1, 100_000, 50_000, 1000))) as server:
        done = call(server.url, "download", "m", 2, target)
        assert (target.read_bytes() == CONTENT, done.digest) == (True, f"sha256:{DIGEST}")
        sent = [heard for heard in server.heard if heard.method == "GET"]
        assert len(sent) == 7
        assert [heard.headers.get("range") for heard in sent[:2]] == [None, "bytes=300000-"]
        assert sent[1].headers["if-range"] == ETAG
        again = call(server.url, "download", "m", 2, target)
        assert (again.resumed_at, server.heard[-1].method) == (len(CONTENT), "HEAD")
    assert list(tmp_path.iterdir()) == [target]


def test_the_next_run_goes_on(tmp_path: Path) -> None:
    target = tmp_path / "m.safetensors"
    with ScriptedServer(script=serving(cuts=(300_000, *[0] * 9))) as server:
        with pytest.raises(errors.Unreachable):
            at_once(server.url, "download", "m", 2, target)
        assert not target.exists()
        [part] = tmp_path.iterdir()
        assert part.stat().st_size == 300_000
    with ScriptedServer(script=serving()) as server:
        assert at_once(server.url, "download", "m", 2, target).resumed_at == 300_000
    assert target.read_bytes() == CONTENT


@both
def test_wrong_bytes_never_get_the_name(call: Call, tmp_path: Path) -> None:
    target = tmp_path / "m.safetensors"
    target.write_bytes(b"the old one")
    wrong = CONTENT[:-1] + b"?"
    with ScriptedServer(script=serving(wrong)) as server, pytest.raises(errors.DigestMismatch):
        call(server.url, "download", "m", 2, target)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {target.name: b"the old one"}


@pytest.mark.parametrize("length", [len(CONTENT) - 5, len(CONTENT) + 5])
def test_neither_do_too_few_or_too_many(tmp_path: Path, length: int) -> None:
    content = (CONTENT + b"?????")[:length]
    with ScriptedServer(script=serving(content)) as server, pytest.raises(LetheError):
        at_once(server.url, "download", "m", 2, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_an_alias_that_moves_meanwhile_is_noticed(tmp_path: Path) -> None:
    other = Reply(200, b"other", {"ETag": '"sha256:' + "0" * 64 + '"'})
    server = ScriptedServer(Reply(200, headers=SAID), other)
    with server, pytest.raises(errors.UnexpectedAnswer, match="moved"):
        at_once(server.url, "download", "m", "latest", tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("etag", ["", '"abc"', '"sha256:../../../../tmp/x' + "0" * 42 + '"'])
def test_without_a_digest_nothing_is_fetched(tmp_path: Path, etag: str) -> None:
    server = ScriptedServer(Reply(200, headers={"ETag": etag, "Content-Length": "9"}))
    with server, pytest.raises(errors.UnexpectedAnswer, match="digest"):
        at_once(server.url, "download", "m", 1, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


@both
def test_an_object_store_gets_no_key(call: Call, tmp_path: Path) -> None:
    target = tmp_path / "m"
    with ScriptedServer(script=serving(cuts=(300_000,))) as store:
        sends_on = Reply(307, headers={"Location": f"{store.url}/bucket/object?signature=s", "ETag": ETAG})
        with ScriptedServer(Reply(200, headers=SAID), sends_on) as server:
            call(server.url, "download", "m", 2, target)
    assert target.read_bytes() == CONTENT
    assert "authorization" in server.heard[-1].headers
    assert [heard.path for heard in store.heard] == ["/bucket/object?signature=s"] * 2
    assert not any("authorization" in heard.headers for heard in store.heard)
    assert store.heard[1].headers["range"] == "bytes=300000-"


@both
def test_an_upload_whose_answer_was_lost(call: Call, tmp_path: Path) -> None:
    """It is sent again, refused because it is there already, and found to be the same."""
    file = tmp_path / "c.safetensors"
    file.write_bytes(CONTENT)
    version = {
        "id": "0198c0de-0000-7000-8000-000000000001",
        "number": 1,
        "state": "pending",
        "digest": f"sha256:{DIGEST}",
        "aliases": [],
        "created_at": "2026-11-24T10:00:00Z",
        "state_since": "2026-11-24T10:00:00Z",
    }
    lost, refused = Reply(202, b"{}", cut=0), problem(409, "checkpoint_exists")
    with ScriptedServer(lost, refused, said(200, version)) as server:
        assert call(server.url, "upload_checkpoint", "m", file).number == 1
    assert [heard.method for heard in server.heard] == ["PUT", "PUT", "GET"]
    assert server.heard[0].body == server.heard[1].body == CONTENT
    assert server.heard[0].headers["repr-digest"].startswith("sha-256=:")
    other = said(200, version | {"digest": "sha256:" + "0" * 64})
    with ScriptedServer(refused, other) as server, pytest.raises(errors.Conflict):
        call(server.url, "upload_checkpoint", "m", file)
