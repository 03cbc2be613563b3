"""Evaluate: the engine's measurements, with everything needed to judge and repeat the run."""

import math
import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch

from worker.engine.contract import Outcome
from worker.engine.evaluation import evaluate as measure_candidate
from worker.jobs.running import Running
from worker.pipeline.device import device_name
from worker.pipeline.ladder import Rung
from worker.pipeline.load import Loaded
from worker.pipeline.seeds import seed_of
from worker.pipeline.unlearn import budget_of, method_of, precision_of


def evaluate(
    running: Running, loaded: Loaded, rung: Rung, outcome: Outcome, device: torch.device
) -> dict[str, Any]:
    """The report: what the engine measured, and under `run` how. Nothing in it names an instance."""
    problem = loaded.problem
    report = measure_candidate(
        problem.network,
        outcome.network,
        tasks=problem.tasks,
        train=problem.train,
        audit=loaded.audit,
        forget=problem.forget,
        seed=loaded.seed,
        device=device,
        monitor=running.monitor,
    )
    report["earlier_gone"] = list(loaded.unchecked)  # forgotten before, and no longer checkable
    report["run"] = _run_facts(running, loaded, rung, outcome, device)
    whole: dict[str, Any] = finite(report)
    return whole


def _run_facts(
    running: Running, loaded: Loaded, rung: Rung, outcome: Outcome, device: torch.device
) -> dict[str, Any]:
    registered = loaded.registered
    method = method_of(rung.method, running.equipment.settings, device)
    return {
        "method": rung.method,
        "rung": rung.name,
        "guarantee": outcome.guarantee,
        "seed": loaded.seed,
        "holdout_seed": seed_of("holdout", registered.model_id),
        "budget": asdict(budget_of(loaded, rung)),
        "precision": precision_of(method, device),
        "network": registered.network,
        "recipe": asdict(registered.recipe),
        "policy": registered.policy,
        "steps": outcome.steps,
        "passes": outcome.passes,
        "forward_passes": outcome.forward_passes,
        "visits_per_forget_instance": outcome.visits,
        "residuals": [asdict(residual) for residual in outcome.residuals],
        "details": dict(outcome.details),
        "peak_memory_bytes": running.memory.growth(device),
        **surroundings(device),
        "digests": {
            "base": f"sha256:{loaded.base.sha256.hex()}",
            "data": registered.fingerprint,
            "holdout": registered.holdout_fingerprint,
        },
        "requests": [str(request) for request in loaded.requests],
    }


def surroundings(device: torch.device) -> dict[str, Any]:
    """Where it ran, and with what."""
    return {
        "device": device_name(device),
        "versions": {
            "lethe": version("lethe-service"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def finite(value: Any) -> Any:
    """The same report with None in place of NaN and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
