"""Ids from files, whatever they look like."""

from pathlib import Path

import pytest

from lethe.errors import UnreadableInstances
from lethe.instances import read_instances


@pytest.mark.parametrize(
    ("name", "content", "column", "expected"),
    [
        ("a.txt", "a\r\n\n  b \na\nc, d", None, ["a", "b", "c, d"]),
        ("a.csv", "a\nb\na\n", None, ["a", "b"]),
        ("a.csv", "\ufeffinstance_id,email\r\na,x@y\r\n\r\n7,z\r\n", None, ["a", "7"]),
        ("a.csv", 'email,ID\nx,"a,1"\n', None, ["a,1"]),
        ("a.CSV", "subject,email\na,x\n", "subject", ["a"]),
        ("a.ndjson", '"a"\n7\n{"id": "b", "x": 1}\n\n{"instance": 8}', None, ["a", "7", "b", "8"]),
        ("a.jsonl", '{"id": 1, "subject": "s"}\n', "subject", ["s"]),
        ("a.list", "ü\u2028x\n", None, ["ü\u2028x"]),
    ],
)
def test_ids_are_read(
    tmp_path: Path, name: str, content: str, column: str | None, expected: list[str]
) -> None:
    file = tmp_path / name
    file.write_bytes(content.encode())
    assert read_instances(file, column) == expected


@pytest.mark.parametrize(
    ("name", "content", "column", "says"),
    [
        ("a.txt", b"\n \n", None, "names no instance"),
        ("a.txt", b"\xff\xfe", None, "not a text file"),
        ("a.csv", b"subject,email\na,b\n", None, "subject, email: say which"),
        ("a.csv", b"id,instance\na,b\n", None, "say which"),
        ("a.csv", b"subject,email\na,b\n", "phone", "has no column 'phone'"),
        ("a.csv", b"email,id\na\n", None, "line 2: there is no id in column 2"),
        ("a.ndjson", b'"a"\n{a}\n', None, "line 2: this is not JSON"),
        ("a.ndjson", b"true\n", None, "line 1: there is no id"),
        ("a.ndjson", b'{"name": "x"}\n', None, "line 1: there is no id"),
        ("a.ndjson", b"1.5\n", None, "line 1: there is no id"),
        ("missing.csv", None, None, "cannot be read"),
    ],
)
def test_what_is_unclear_is_refused(
    tmp_path: Path, name: str, content: bytes | None, column: str | None, says: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UnreadableInstances, match=says):
        read_instances(file, column)
