"""The cost benchmarks run: their figures are another matter."""

from benchmarks.gpu import main
from benchmarks.gpu_report import report


def test_the_benchmark_for_gpus_runs_on_a_cpu() -> None:
    found = main(["--tiny", "--device", "cpu"])
    measured = found["precisions"]["float32"]
    assert set(measured["steps"]) == {"fine_tuning", "fine_tuning_same_instances", "idle", "engaged"}
    assert all(step["images_per_second"] > 0 for step in measured["steps"].values())
    assert measured["job"]["seconds"] > 0
    page = report(found)
    assert page.count("| float32 |") == 5
