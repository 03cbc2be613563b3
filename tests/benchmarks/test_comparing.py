"""What a change did: on the requests that both versions finished, and on no others."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.unlearning.__main__ import application
from benchmarks.unlearning.comparing import comparison
from benchmarks.unlearning.finished_rows import FinishedRows
from benchmarks.unlearning.grid import OURS


def row(seed: int, scope: str, gap: float, method: str = OURS, fraction: float = 0.05) -> dict[str, Any]:
    return {
        "key": f"{seed} {scope} {gap} {method} {fraction}",
        "problem": {"source": "digits", "seed": seed},
        "request": {"selection": "hard", "scope": scope, "fraction": fraction, "jobs": 1},
        "configuration": {"fields": {}},
        "method": method,
        "scores": {"average_gap": gap, "unnamed_gap": None if scope == "full" else 2 * gap},
        "floor": {"average_gap": 1.0},
    }


def line(text: str, kind: str) -> list[str]:
    found = [one for one in text.splitlines() if one.startswith(f"| {kind}")]
    assert len(found) == 1
    return [cell.strip() for cell in found[0].split("|")[2:-1]]


def test_differences_are_paired_by_request_and_averaged_by_seed() -> None:
    before = [row(0, "ink", 3.0), row(0, "turn", 5.0), row(1, "ink", 2.0), row(2, "ink", 50.0)]
    after = [row(0, "ink", 2.0), row(0, "turn", 4.0), row(1, "ink", 1.0), row(3, "ink", 70.0)]
    cells = line(comparison(before, after, OURS), "hard, partial, 5 %")
    assert cells[0] == "3.00 → 2.00 (0.87): -1.00 [-1.00, -1.00]"
    assert cells[3] == "6.00 → 4.00 (–): -2.00 [-2.00, -2.00]"
    assert cells[1] == "–"


def test_kinds_of_request_and_methods_are_kept_apart() -> None:
    before = [row(0, "ink", 3.0), row(0, "full", 4.0), row(0, "mixed", 5.0), row(0, "full", 9.0, "scrub")]
    after = [row(0, "full", 6.0), row(0, "mixed", 5.0), row(0, "full", 1.0, "scrub")]
    refused = {name: value for name, value in row(0, "mixed", 8.0).items() if name != "scores"}
    text = comparison([*before, refused], after, OURS)
    assert "partial" not in text
    assert line(text, "hard, full")[0].startswith("4.00 → 6.00")
    assert line(text, "hard, mixed")[0].startswith("5.00 → 5.00")
    assert line(comparison(before, after, "scrub"), "hard, full")[0].startswith("9.00 → 1.00")


@pytest.mark.parametrize("other", [0.05, 0.1])
def test_the_command_reads_two_folders_of_rows(tmp_path: Path, other: float) -> None:
    for name, gap, fraction in (("before", 3.0, 0.05), ("after", 2.0, other)):
        FinishedRows(tmp_path / name / "rows.jsonl").append(row(1000, "ink", gap, fraction=fraction))
    done = CliRunner().invoke(application, ["compare", str(tmp_path / "before"), str(tmp_path / "after")])
    assert done.exit_code == 0
    assert ("3.00 → 2.00" in done.output) == (other == 0.05)
