"""The literature's figures for dense tasks, over a whole data set: what papers' tables print.

They pool all valid pixels of all images, so they are no means over instances, and the gates, certificates
and goals do not use them. B is the batch, C the classes, H x W the grid. Sums are in 64 bits; nothing
here grows with the data set.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from worker.engine.contract import Batch, Data, TaskSpec
from worker.engine.progress import Progress
from worker.engine.room import Room, instances_at_once
from worker.engine.sending import send
from worker.engine.tasks.depth import within
from worker.engine.tasks.normals import cosines

Figures = dict[str, float]
_BINS_PER_DEGREE = 100


class DenseMetrics(Protocol):
    """Fed batch by batch. NaN where there was nothing to measure, or an answer is no number."""

    def update(self, outputs: Tensor, targets: Tensor) -> None: ...

    def figures(self) -> Figures: ...


class SegmentationMetrics:
    """`mean_iou` and `pixel_accuracy`, in percent; pixels labelled −1 do not count.

    Intersection over union (Everingham et al. 2010, section 4.4) is taken per class over the data set, and
    averaged over the classes that occur in targets or answers. (The figure printed by MTAN's code is
    averaged per image first, and comes out higher.)
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._confusion = torch.zeros(classes, classes, dtype=torch.int64)

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """(B, C, H, W) logits, (B, H, W)"""
        valid = targets >= 0
        pairs = targets[valid].long() * self._classes + outputs.argmax(dim=1)[valid]
        counts = torch.bincount(pairs, minlength=self._classes**2)
        self._confusion += counts.cpu().reshape(self._classes, self._classes)

    def figures(self) -> Figures:
        confusion = self._confusion.double()
        right = confusion.diagonal()
        union = confusion.sum(dim=0) + confusion.sum(dim=1) - right
        return {
            "mean_iou": _share((right / union)[union > 0].sum(), (union > 0).sum()),
            "pixel_accuracy": _share(right.sum(), confusion.sum()),
        }


class DepthMetrics:
    """`absolute_error`, `relative_error` (|d̂ − d| / d), `root_mean_square_error`, in the data's unit, and
    the shares within δ < 1.25, 1.25², 1.25³ in percent (Eigen et al. 2014, section 4.2)."""

    def __init__(self) -> None:
        self._sums = torch.zeros(6, dtype=torch.float64)
        self._count = 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """(B, 1, H, W), (B, 1, H, W); pixels of 0 do not count."""
        valid = targets > 0
        given, true = outputs[valid].double(), targets[valid].double()
        error = (given - true).abs()
        parts = [error, error / true, error.square(), *(within(given, true, 1.25**k) for k in (1, 2, 3))]
        self._sums += torch.stack([part.double().sum() for part in parts]).cpu()
        self._count += int(valid.sum())

    def figures(self) -> Figures:
        means = (self._sums / self._count if self._count else self._sums * torch.nan).tolist()
        return {
            "absolute_error": means[0],
            "relative_error": means[1],
            "root_mean_square_error": means[2] ** 0.5,
            "within_delta_1.25": means[3] * 100,
            "within_delta_1.25^2": means[4] * 100,
            "within_delta_1.25^3": means[5] * 100,
        }


class NormalsMetrics:
    """`angle_mean` and `angle_median` in degrees, and the shares within 11.25°, 22.5° and 30° in percent
    (Fouhey et al. 2013).

    The median is read from a histogram in steps of a hundredth of a degree: right to that, in constant
    memory. Only vectors of zeros do not count; MTAN's code drops all whose components sum to zero.
    """

    def __init__(self) -> None:
        self._histogram = torch.zeros(180 * _BINS_PER_DEGREE + 1, dtype=torch.int64)
        self._sums = torch.zeros(4, dtype=torch.float64)

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """(B, 3, H, W) of any length, (B, 3, H, W)"""
        known = (targets != 0).any(dim=1)
        cosine = cosines(outputs.double(), targets.double())
        degrees = torch.rad2deg(torch.arccos(cosine))[known]
        bins = (degrees.nan_to_num(nan=180.0) * _BINS_PER_DEGREE).long()
        self._histogram += torch.bincount(bins, minlength=len(self._histogram)).cpu()
        shares = [(degrees < bound).double().sum() for bound in (11.25, 22.5, 30.0)]
        self._sums += torch.stack([degrees.sum(), *shares]).cpu()

    def figures(self) -> Figures:
        count = int(self._histogram.sum())
        means = (self._sums / count if count else self._sums * torch.nan).tolist()
        return {
            "angle_mean": means[0],
            "angle_median": self._median(count),
            "within_11.25_degrees": means[1] * 100,
            "within_22.5_degrees": means[2] * 100,
            "within_30_degrees": means[3] * 100,
        }

    def _median(self, count: int) -> float:
        if count == 0:
            return float("nan")
        reached = self._histogram.cumsum(dim=0)
        middle = [
            int(torch.searchsorted(reached, rank, right=True)) for rank in ((count - 1) // 2, count // 2)
        ]
        return sum(bin_ + 0.5 for bin_ in middle) / 2 / _BINS_PER_DEGREE


DENSE_METRICS: dict[str, Callable[[TaskSpec], DenseMetrics]] = {
    "segmentation": lambda spec: SegmentationMetrics(spec.outputs),
    "depth": lambda spec: DepthMetrics(),
    "normals": lambda spec: NormalsMetrics(),
}


def literature_figures(
    network: nn.Module,
    tasks: tuple[TaskSpec, ...],
    data: Data,
    rows: Tensor,
    counted: Tensor,
    *,
    device: torch.device,
    progress: Progress,
    note: str,
) -> dict[str, Figures]:
    """Per dense task, the figures over `rows` (n,) of the data, and of them over the labels that `counted`
    (n, T) has; other tasks are left out.

    One forward pass in evaluation mode, none without a dense task; the network's mode is put back. In batches
    bounded by what they weigh, halved when memory runs out.
    """
    found = {spec.name: DENSE_METRICS[spec.kind](spec) for spec in tasks if spec.kind in DENSE_METRICS}
    column = {spec.name: position for position, spec in enumerate(tasks)}
    if not found or len(rows) == 0:
        return {name: metrics.figures() for name, metrics in found.items()}

    def answer(part: Tensor) -> tuple[Batch, Mapping[str, Tensor]]:
        batch = data.fetch(part).to(device)
        return batch, network(batch.inputs)

    room = Room(instances_at_once(data))
    was_training, done = network.training, 0
    network.eval()
    try:
        with torch.no_grad():
            while done < len(rows):
                batch, outputs = room.run(lambda most, done=done: answer(rows[done : done + most]))  # type: ignore[misc]
                seen = len(batch.present)
                kept = send(counted[done : done + seen], device)
                for name, metrics in found.items():
                    mine = kept[:, column[name]]
                    metrics.update(outputs[name][mine], batch.targets[name][mine])
                done += seen
                progress.advance(seen, note)
    finally:
        network.train(was_training)
    return {name: metrics.figures() for name, metrics in found.items()}


def _share(part: Tensor, whole: Tensor) -> float:
    return float(part / whole * 100) if bool(whole > 0) else float("nan")
