"""What our method costs on a ResNet-50: python -m benchmarks.gpu

DeepLab on NYUv2's grid (288 x 384, output stride 8, three dense tasks; random images: there is nothing to
learn, and it costs the same). In float32 and in bfloat16: images per second and peak memory of a step of
fine-tuning, of ours with guards idle and engaged, and a whole job beside retraining, whose time is its number
of steps times that of one. `--profile` lists what the device did instead of matrix products. `--tiny --device
cpu` runs all of it in seconds, to see that it runs. Needs torch, transformers and NumPy only.

Writes benchmarks/results/gpu.json and gpu.md, unless `--tiny`.
"""

import argparse
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_report import report
from benchmarks.on_device import forget_peak, peak, profiled, timed
from benchmarks.random_data import DENSE_TASKS
from benchmarks.stepping import FineTuning, Setting, make_problem, make_unlearning
from worker.engine.calibration import CalibrationSettings
from worker.engine.contract import Budget, Problem, Silent
from worker.engine.forward import Precision
from worker.engine.interference_aware import InterferenceAware
from worker.engine.unlearning import BASIS_LIFETIME

RESULTS = Path(__file__).parent / "results"
LARGE = Setting(
    "ResNet-50, 288 x 384", {"kind": "deeplab"}, (3, 288, 384), DENSE_TASKS,
    instances=795, forget=40, batch=8, recipe_batch=8,
)  # fmt: skip
TINY = Setting(
    "tiny", {"kind": "deeplab", "widths": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "stem": 8, "head_width": 8},
    (3, 16, 24), DENSE_TASKS, instances=24, forget=4, batch=2, recipe_batch=4,
)  # fmt: skip
EPOCHS = 200  # of retraining: LibMTL's recipe for NYUv2


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--steps", type=int, default=20, help="timed steps of each kind")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    setting, steps = (TINY, 2) if options.tiny else (LARGE, options.steps)
    problem = make_problem(setting)
    precisions: tuple[Precision, ...] = ("float32", "bfloat16") if device.type == "cuda" else ("float32",)
    found: dict[str, Any] = {"machine": _machine(device), "setting": setting.name, "precisions": {}}
    for precision in precisions:
        measured = measure_steps(problem, setting, device, precision, steps, profile=options.profile)
        measured["job"] = measure_job(problem, device, precision, tiny=options.tiny)
        epoch = setting.instances / measured["steps"]["fine_tuning"]["images_per_second"]
        measured["job"]["retraining_seconds"] = round(EPOCHS * epoch, 3)
        found["precisions"][precision] = measured
        print(json.dumps({precision: measured}, indent=1), flush=True)
    if not options.tiny:
        (options.output / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
        (options.output / "gpu.md").write_text(report(found))
    return found


def measure_steps(
    problem: Problem,
    setting: Setting,
    device: torch.device,
    precision: Precision,
    steps: int,
    *,
    profile: bool,
) -> dict[str, Any]:
    """Images per second and peak memory of each kind of step; each kind is alone on the device."""
    small = partial(torch.randint, setting.instances, (setting.recipe_batch,))
    large = partial(torch.randint, setting.instances, (setting.instances_per_step,))

    def fine_tuning(rows: Callable[[], torch.Tensor]) -> Callable[[], object]:
        training = FineTuning(problem, device, precision)
        return lambda: training.step(rows())

    def ours(guarded: bool) -> Callable[[], object]:
        total = 3 * steps + 10
        return make_unlearning(
            problem, setting, device, steps=total, guarded=guarded, precision=precision
        ).step

    kinds: dict[str, tuple[int, Callable[[], Callable[[], object]]]] = {
        "fine_tuning": (setting.recipe_batch, lambda: fine_tuning(small)),
        "fine_tuning_same_instances": (setting.instances_per_step, lambda: fine_tuning(large)),
        "idle": (setting.instances_per_step, lambda: ours(False)),
        "engaged": (setting.instances_per_step, lambda: ours(True)),
    }
    found: dict[str, Any] = {}
    for name, (images, make) in kinds.items():
        step = make()
        forget_peak(device)
        first = timed(step, device)  # engages the guards: the tasks' subspaces are estimated
        step()
        seconds = timed(lambda step=step: [step() for _ in range(steps)], device)  # type: ignore[misc]
        found[name] = {
            "images_per_second": round(steps * images / seconds, 3),
            "first_step_seconds": round(first, 4),
            "peak_bytes": peak(device),
        }
        if profile:
            print(name, profiled(step, device))
        del step
    return {"steps": found, "step_ratio": _ratios(found, setting.instances_per_step)}


def _ratios(found: Mapping[str, Any], images: int) -> dict[str, float]:
    """To a step of fine-tuning over the same instances; engaged with its share of estimating subspaces."""
    plain, idle, engaged = (
        images / found[name]["images_per_second"]
        for name in ("fine_tuning_same_instances", "idle", "engaged")
    )
    estimating = max(0.0, found["engaged"]["first_step_seconds"] - engaged) / BASIS_LIFETIME
    return {"idle": round(idle / plain, 3), "engaged": round((engaged + estimating) / plain, 3)}


def measure_job(
    problem: Problem, device: torch.device, precision: Precision, *, tiny: bool
) -> dict[str, Any]:
    """One job from its problem to its network."""
    method, budget = InterferenceAware(precision=precision), Budget()
    if tiny:
        settings = CalibrationSettings(reference_samples=8, probe_samples=8, kappa_pool=4)
        method, budget = replace(method, calibration=settings), Budget(visits=2, batch_size=2)
    outcome = []
    forget_peak(device)
    seconds = timed(
        lambda: outcome.append(method(problem, budget, seed=0, device=device, monitor=Silent())), device
    )
    return {
        "seconds": round(seconds, 3),
        "passes": outcome[0].passes,
        "forward_passes": outcome[0].forward_passes,
        "violations": outcome[0].details["trust_region"]["violations"],
        "peak_bytes": peak(device),
    }


def _machine(device: torch.device) -> dict[str, str]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"device": name, "torch": torch.__version__, "python": platform.python_version()}


if __name__ == "__main__":
    main()
