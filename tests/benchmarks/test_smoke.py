"""The whole benchmark, tiny: every method, every kind of request, the report; and again, for nothing."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.unlearning.__main__ import application
from benchmarks.unlearning.configurations import compared_methods
from benchmarks.unlearning.finished_rows import FinishedRows
from benchmarks.unlearning.smoke import smoke_jobs


@pytest.mark.timeout(180)
def test_smoke(tmp_path: Path) -> None:
    arguments = ["--smoke", "--folder", str(tmp_path)]
    first = CliRunner().invoke(application, arguments)
    assert first.exit_code == 0, first.output
    rows = FinishedRows(tmp_path / "rows.jsonl")
    assert len(rows) == len(smoke_jobs())
    for row in rows:
        assert 0 <= row["scores"]["average_gap"] <= 100
        assert 0 <= row["scores"]["auc"] <= 1
        assert row["environment"]["torch"]
    assert {"base", "aim", "sequence", "controls"} == {row["axis"] for row in rows}
    assert [len(row["rebound"]) for row in rows if row["axis"] == "sequence"] == [3]
    report = (tmp_path / "report.md").read_text()
    for method in compared_methods():
        assert method.replace("_", " ") in report
    assert "| digits, full | " in report.partition("## Aimed at the holdout")[2]
    for name in ("cost.png", "before_after.png", "rebound.png"):
        assert (tmp_path / name).stat().st_size > 1000

    before = (tmp_path / "rows.jsonl").read_bytes()
    again = CliRunner().invoke(application, arguments)
    assert again.exit_code == 0
    assert (tmp_path / "rows.jsonl").read_bytes() == before


def test_unknown_names_are_refused() -> None:
    found = CliRunner().invoke(application, ["run", "--dry", "--sources", "no-such-data"])
    assert found.exit_code == 2
    assert "no-such-data" in found.output
