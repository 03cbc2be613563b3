"""Every line of the pages that point at tests points at one that is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POINTER = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")


@pytest.mark.parametrize("page", ["security.md", "durability.md"])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    named = POINTER.findall((ROOT / "docs" / page).read_text())
    assert len(named) > 40
    for file, test in named:
        source = (ROOT / file).read_text()
        assert f"def {test}(" in source, f"{file}::{test}"


def test_every_defence_points_at_a_test() -> None:
    stops = (ROOT / "docs" / "security.md").read_text().split("## What stops them")[1].split("\n## ")[0]
    rows = _rows(stops, "| attack |")
    assert len(rows) > 25
    for row in rows:
        assert POINTER.search(row), row


def test_every_promise_points_at_a_test() -> None:
    rows = _rows((ROOT / "docs" / "durability.md").read_text(), "| promise |")
    assert [number for number in range(1, 11) if any(f"| **{number}.** " in row for row in rows)] == list(
        range(1, 11)
    )
    for row in rows:
        assert POINTER.search(row) or "in any order" in row, row


def _rows(text: str, head: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    assert lines[0].startswith(head)
    return lines[1:]
