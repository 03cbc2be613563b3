"""How much memory a job takes beside a step of fine-tuning: python -m benchmarks.peak_memory [--full] (Linux)

A ResNet-50 at a quarter of its width on images of 192 x 256, or (--full, an hour or two) at its own width on
288 x 384; batches of 8, on the CPU: the growth of the resident memory of a process of its own over what it
had with network and data in place. A job is its calibration and steps with both guards engaged; steps of ours
take 24 instances, in parts of 8. Freed memory goes back to the system at once (MALLOC_MMAP_THRESHOLD_), so
that what is resident is in use: by default glibc keeps what one phase freed, and the next one's shapes do not
fit into it.

Writes benchmarks/results/peak_memory.md, or peak_memory_full.md.
"""

import argparse
import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.random_data import DENSE_TASKS
from benchmarks.stepping import FineTuning, Setting, make_problem, make_unlearning

RESULTS = Path(__file__).parent / "results"
CPU = torch.device("cpu")
QUARTER = Setting(
    "ResNet-50 at a quarter of its width, 192 x 256",
    {"kind": "deeplab", "widths": [64, 128, 256, 512], "stem": 16, "head_width": 64},
    (3, 192, 256), DENSE_TASKS, instances=48, forget=8, batch=8, recipe_batch=8,
)  # fmt: skip
FULL = replace(QUARTER, name="ResNet-50, 288 x 384", network={"kind": "deeplab"}, shape=(3, 288, 384))
WORK = {
    "fine_tuning": "fine-tuning, 8 instances",
    "job": "a job of ours, guards engaged",
    "fine_tuning_same": "fine-tuning, 24 instances",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", nargs="?", choices=WORK, help="measure this one, in this process")
    parser.add_argument("--full", action="store_true", help="at full width")
    options = parser.parse_args()
    setting = FULL if options.full else QUARTER
    if options.work:
        print(measure(options.work, setting))
        return
    found = {work: _in_a_process(work, full=options.full) for work in WORK}
    rows = [
        f"| {said} | {found[work] / 2**20:.0f} | {found[work] / found['fine_tuning']:.2f} |\n"
        for work, said in WORK.items()
    ]
    flag = " --full" if options.full else ""
    results = RESULTS / ("peak_memory_full.md" if options.full else "peak_memory.md")
    results.write_text(
        f"# Peak memory\n\n`python -m benchmarks.peak_memory{flag}`; {setting.name}, torch "
        f"{version('torch')}. Growth of the resident memory over network and data.\n\n"
        "| | MiB | of fine-tuning |\n|---|---:|---:|\n" + "".join(rows)
    )
    print(results.read_text())


def measure(work: str, setting: Setting) -> int:
    """Bytes that the work needs at its peak."""
    torch.set_num_threads(1)
    problem = make_problem(setting)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = _status("VmRSS")
    if work == "job":
        run = make_unlearning(problem, setting, CPU, steps=10, guarded=True)
        for _ in range(2):
            run.step()
    else:
        training = FineTuning(problem, CPU)
        batch = setting.recipe_batch if work == "fine_tuning" else setting.instances_per_step
        for _ in range(2):
            training.step(torch.arange(batch))
    return _status("VmHWM") - before


def _in_a_process(work: str, *, full: bool) -> int:
    command = [sys.executable, "-m", "benchmarks.peak_memory", work, *(["--full"] if full else [])]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(1 << 18)}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(found.stdout.split()[-1])


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


if __name__ == "__main__":
    main()
