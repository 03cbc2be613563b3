"""Every line of docs/security.md that points at a test points at one that is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
POINTER = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")


def test_every_test_that_the_page_names_exists() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    named = POINTER.findall(page)
    assert len(named) > 40
    for file, test in named:
        source = (ROOT / file).read_text()
        assert f"def {test}(" in source, f"{file}::{test}"


def test_every_defence_points_at_a_test() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    stops = page.split("## What stops them")[1].split("\n## ")[0]
    rows = [line for line in stops.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) > 25
    for row in rows:
        assert row.startswith("| attack |") or POINTER.search(row), row
