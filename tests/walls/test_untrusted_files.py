"""Files that somebody made up: they are read as what they are, or refused with the documented error."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.journal import DamagedEntry, read_entry
from app.core.sealed_format import HEADER, MAGIC, Damaged, read_layout, unseal
from lethe.audit_export import verify_audit_export
from lethe.certificate import verify_certificate
from lethe.errors import UnreadableInstances
from lethe.findings import NotVerified
from lethe.instances import read_instances
from lethe.keys import read_keys
from tests.engine.test_checkpoint import network
from worker.engine.checkpoint import new_layout, read_checkpoint
from worker.engine.contract import Refused, TaskSpec
from worker.engine.data import describe, open_data
from worker.engine.data.npy_files import read_array

fast = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# NumPy says so before it refuses; and Python 2 wrote numbers otherwise.
pytestmark = [
    pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required:UserWarning"),
]
SPECS = (TaskSpec("colour", "classification", 3),)
NETWORK = network()

numbers = st.one_of(
    st.integers(-2, 400), st.sampled_from([1 << 31, 1 << 62, 1 << 63, 1 << 64, -1, 10**40]), st.floats()
)
strange_text = st.text(st.characters(exclude_categories=()), max_size=12)
anything = st.recursive(
    st.none() | st.booleans() | numbers | strange_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strange_text, inner, max_size=3),
    max_leaves=8,
)


def refused_or_read(call: Callable[[], Any], *documented: type[Exception]) -> None:
    """The message of a refusal must fit where it is kept: no NUL, no lone surrogates, not endless."""
    try:
        call()
    except documented as error:
        text = str(error)
        assert len(text) < 2500
        assert "\0" not in text
        text.encode()


empty = st.just({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})
entries = empty | st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F16", "I64", "X"]) | anything,
        "shape": st.lists(numbers, max_size=3) | anything,
        "data_offsets": st.lists(numbers, max_size=3) | anything,
    },
)
names = st.sampled_from(list(NETWORK.state_dict())) | strange_text | st.just("x" * 9_000)
headers = st.one_of(
    st.dictionaries(names | st.just("__metadata__"), entries | anything, max_size=4).map(
        lambda header: json.dumps(header).encode()
    ),
    st.binary(max_size=40),
    st.just(b"[" * 5_000),
    st.just(b'{"a":' + b"9" * 5000 + b"}"),
)


@fast
@given(headers, st.none() | st.integers(0, (1 << 64) - 1), st.binary(max_size=64))
def test_checkpoints(tmp_path: Path, header: bytes, length: int | None, rest: bytes) -> None:
    file = tmp_path / "made-up.safetensors"
    told = len(header) if length is None else length
    file.write_bytes(told.to_bytes(8, "little") + header + rest)
    refused_or_read(lambda: read_checkpoint(file, NETWORK), Refused)


WHOLE = json.loads(new_layout(NETWORK).header)
BYTES = bytes(max(entry["data_offsets"][1] for entry in WHOLE.values()))


@fast
@given(st.dictionaries(names, entries, max_size=3))
def test_checkpoints_with_some_entries_of_their_own(tmp_path: Path, changes: dict[str, Any]) -> None:
    file = tmp_path / "made-up.safetensors"
    header = json.dumps(WHOLE | changes).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + BYTES)
    refused_or_read(lambda: read_checkpoint(file, NETWORK), Refused)


def npy(header: bytes, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


array_headers = st.one_of(
    st.builds(
        lambda descr, order, shape: repr({"descr": descr, "fortran_order": order, "shape": shape}).encode(),
        st.sampled_from(
            ["<f4", "|O", "<U3", "|V8", "<M8[s]", "<i8", "x", "<f4,<f4", [("a", "<f4")], 3, None]
        ),
        st.booleans() | st.none(),
        st.lists(
            st.integers(-3, 9) | st.sampled_from([1 << 40, 1 << 62, 1 << 70, -(1 << 63)]), max_size=3
        ).map(tuple)
        | st.just("no shape"),
    ),
    st.binary(max_size=60),
    st.sampled_from([b"{" * 500, b"(" * 3000, b"'''", b"{'descr': \"", b"\\\n" * 20, b"1L" * 5]),
)
arrays = st.builds(npy, array_headers, st.binary(max_size=40)) | st.binary(max_size=30)


@fast
@given(arrays)
def test_npy_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "inputs.npy").write_bytes(content)
    np.save(tmp_path / "ids.npy", np.array(["a", "b"]))
    np.save(tmp_path / "colour.npy", np.array([0, 1]))
    refused_or_read(lambda: read_array(tmp_path / "inputs.npy", "The array"), Refused)
    refused_or_read(lambda: describe("arrays", tmp_path), Refused)
    refused_or_read(lambda: open_data("arrays", tmp_path, SPECS), Refused)


def archive(members: dict[str, bytes], method: int, damage: tuple[int, int] | None) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    content = bytearray(packed.getvalue())
    if damage is not None:
        content[damage[0] % len(content)] = damage[1]
    return bytes(content)


def stored(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(values))
    return file.getvalue()


good = {"ids.npy": stored(["a", "b"]), "inputs.npy": stored([[0.5], [1.5]]), "colour.npy": stored([0, 1])}
member_names = (st.text(max_size=12) | st.just("x" * 3000)).map(lambda name: f"{name}.npy")
archives = st.builds(
    lambda changes, method, damage: archive(good | changes, method, damage),
    st.dictionaries(
        st.sampled_from(list(good)) | member_names, arrays | st.just(good["ids.npy"]), max_size=2
    ),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
    st.none() | st.tuples(st.integers(0, 10_000), st.integers(0, 255)),
)


@fast
@given(archives | st.binary(max_size=50))
def test_npz_archives(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "data.npz"
    file.write_bytes(content)
    refused_or_read(lambda: describe("arrays", file), Refused)
    refused_or_read(lambda: open_data("arrays", file, SPECS), Refused)


@fast
@given(
    st.sampled_from([".txt", ".csv", ".jsonl"]),
    st.one_of(
        st.binary(max_size=60),
        strange_text.map(lambda t: t.encode(errors="surrogatepass")),
        anything.map(lambda value: json.dumps(value).encode()),
        st.sampled_from([b"[" * 5_000, b"id\r1\r\n2", b"9" * 5000, b'{"id": ' + b"9" * 5000]),
    ),
)
def test_lists_of_instances(tmp_path: Path, suffix: str, content: bytes) -> None:
    file = tmp_path / f"ids{suffix}"
    file.write_bytes(content)
    refused_or_read(lambda: read_instances(file), UnreadableInstances)


envelopes = st.one_of(
    st.binary(max_size=60),
    anything.map(lambda value: json.dumps(value, separators=(",", ":")).encode()),
    st.fixed_dictionaries(
        {
            "payload": strange_text | st.sampled_from(["e30=", "W10="]),
            "payloadType": strange_text | st.just("application/vnd.in-toto+json"),
        },
        optional={
            "signatures": st.lists(
                anything | st.fixed_dictionaries({"keyid": strange_text, "sig": strange_text}), max_size=2
            )
            | anything
        },
    ).map(lambda value: json.dumps(value, separators=(",", ":"), sort_keys=True).encode()),
    anything.map(
        lambda value: (
            b'{"certificates":' + json.dumps(value, separators=(",", ":")).encode() + b',"request":"x"}'
        )
    ),
    st.sampled_from([b"[" * 5_000, b'{"certificates":' + b"[" * 5_000, b"9" * 5000]),
)


@fast
@given(envelopes)
def test_certificates_logs_and_keys(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "made-up.json"
    file.write_bytes(content)
    with pytest.raises(NotVerified):
        verify_certificate(file, [])
    with pytest.raises(NotVerified):
        verify_audit_export(file, [])
    refused_or_read(lambda: read_keys([file]), NotVerified)


ids = {name: str(UUID(int=1)) for name in ("id", "tenant_id", "registered_model_id", "dataset_id")}
told = {"scope": "full", "method": "retrain", "hash_key_id": "k1", "created_at": "now", "due_at": None}
rest = {"tasks": ["a"], "reference": None, "regulation": None, "metadata": {}, "instances": ["0" * 64]}
entry = ids | told | rest | {"cancelled": False}


@fast
@given(
    st.dictionaries(st.sampled_from(list(entry)), anything, max_size=3).map(
        lambda changes: json.dumps(entry | changes).encode()
    )
    | anything.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=40)
)
def test_entries_of_the_journal(content: bytes) -> None:
    assert read_entry(json.dumps(entry).encode()).instances == ["0" * 64]
    refused_or_read(lambda: read_entry(content), DamagedEntry)


@fast
@given(st.binary(max_size=40), st.binary(max_size=80), st.booleans())
def test_sealed_objects(header: bytes, body: bytes, magic: bool) -> None:
    content = (MAGIC if magic else b"") + header + body

    def read() -> None:
        layout = read_layout(content[:HEADER], len(content))
        fetched = unseal(layout, bytes(32), lambda at, length: content[at : at + length], 0, layout.size)
        assert sum(map(len, fetched)) <= len(content)

    with pytest.raises(Damaged):
        read()
