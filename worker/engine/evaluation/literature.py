"""The literature's figures of two networks beside each other, as the report has them per dense task."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from worker.engine.contract import Data, TaskSpec
from worker.engine.evaluation.dense_metrics import DENSE_METRICS, Figures, literature_figures
from worker.engine.progress import Progress


@dataclass(frozen=True)
class Part:
    """Which labels are looked at: those that `counted` (n, T) has, of `rows` (n,) of the data."""

    data: Data
    rows: Tensor
    counted: Tensor


def literature(
    before: nn.Module,
    after: nn.Module,
    tasks: tuple[TaskSpec, ...],
    parts: Mapping[str, Part],
    *,
    device: torch.device,
    progress: Progress,
) -> dict[str, dict[str, Any]]:
    """Per dense task and part `{before, after}`, each the figures of `DENSE_METRICS`, None where there is no
    number; None for a part without a label of the task. Other tasks are left out. Neither network is changed.
    """
    dense = {column: spec for column, spec in enumerate(tasks) if spec.kind in DENSE_METRICS}
    if not dense:
        return {}
    seen: dict[str, dict[str, dict[str, Figures]]] = {}
    for when, network in (("before", before), ("after", after)):
        moved = copy.deepcopy(network).to(device)
        seen[when] = {
            name: literature_figures(
                moved, tasks, part.data, part.rows, part.counted,
                device=device, progress=progress, note="the literature's figures",
            )
            for name, part in parts.items()
        }  # fmt: skip
    return {
        spec.name: {
            name: {when: _told(found[name][spec.name]) for when, found in seen.items()}
            if bool(part.counted[:, column].any())
            else None
            for name, part in parts.items()
        }
        for column, spec in dense.items()
    }


def literature_passes(tasks: tuple[TaskSpec, ...], parts: Mapping[str, Part]) -> int:
    """Forward passes that `literature` takes, in instances."""
    if not any(spec.kind in DENSE_METRICS for spec in tasks):
        return 0
    return 2 * sum(len(part.rows) for part in parts.values())


def _told(figures: Figures) -> dict[str, float | None]:
    return {name: round(value, 4) if isfinite(value) else None for name, value in figures.items()}
