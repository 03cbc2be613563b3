"""How much memory a job takes beside a step of fine-tuning: python -m benchmarks.peak_memory (Linux)

A ResNet-50 at a quarter of its width on images of 192 x 256, batches of 8, on the CPU: the growth of the
resident memory of a process of its own over what it had with network and data in place. A job is its
calibration and steps with both guards engaged; steps of ours take 24 instances, in parts of 8. Freed memory
goes back to the system at once (MALLOC_MMAP_THRESHOLD_), so that what is resident is in use: by default glibc
keeps what one phase freed, and the next one's shapes do not fit into it.

Writes benchmarks/results/peak_memory.md.
"""

import argparse
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.random_data import DENSE_TASKS
from benchmarks.stepping import FineTuning, Setting, make_problem, make_unlearning

RESULTS = Path(__file__).parent / "results" / "peak_memory.md"
CPU = torch.device("cpu")
SETTING = Setting(
    "ResNet-50 at a quarter of its width, 192 x 256",
    {"kind": "deeplab", "widths": [64, 128, 256, 512], "stem": 16, "head_width": 64},
    (3, 192, 256), DENSE_TASKS, instances=48, forget=8, batch=8, recipe_batch=8,
)  # fmt: skip
WORK = {
    "fine_tuning": "fine-tuning, 8 instances",
    "fine_tuning_same": "fine-tuning, 24 instances",
    "job": "a job of ours, guards engaged",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", nargs="?", choices=WORK, help="measure this one, in this process")
    options = parser.parse_args()
    if options.work:
        print(measure(options.work))
        return
    found = {work: _in_a_process(work) for work in WORK}
    rows = [
        f"| {said} | {found[work] / 2**20:.0f} | {found[work] / found['fine_tuning']:.2f} |\n"
        for work, said in WORK.items()
    ]
    RESULTS.write_text(
        f"# Peak memory\n\n`python -m benchmarks.peak_memory`; {SETTING.name}, torch {version('torch')}. "
        "Growth of the resident memory over network and data.\n\n"
        "| | MiB | of fine-tuning |\n|---|---:|---:|\n" + "".join(rows)
    )
    print(RESULTS.read_text())


def measure(work: str) -> int:
    """Bytes that the work needs at its peak."""
    torch.set_num_threads(1)
    problem = make_problem(SETTING)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = _status("VmRSS")
    if work == "job":
        run = make_unlearning(problem, SETTING, CPU, steps=10, guarded=True)
        for _ in range(2):
            run.step()
    else:
        training = FineTuning(problem, CPU)
        batch = SETTING.recipe_batch if work == "fine_tuning" else SETTING.instances_per_step
        for _ in range(2):
            training.step(torch.arange(batch))
    return _status("VmHWM") - before


def _in_a_process(work: str) -> int:
    command = [sys.executable, "-m", "benchmarks.peak_memory", work]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(1 << 18)}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(found.stdout.split()[-1])


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


if __name__ == "__main__":
    main()
