"""The literature's figures: known values, a slow loop over pixels, torchmetrics."""

import json
from math import acos, degrees, isnan, nan, sqrt

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics import MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredError
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from worker.engine import room
from worker.engine.contract import Batch, Monitor, Silent, TaskSpec
from worker.engine.evaluation.dense_metrics import (
    DenseMetrics,
    DepthMetrics,
    NormalsMetrics,
    SegmentationMetrics,
    literature_figures,
)
from worker.engine.evaluation.literature import Part, literature
from worker.engine.progress import Progress

SILENT = Silent()
TASKS = (
    TaskSpec("scene", "classification", 2),
    TaskSpec("segmentation", "segmentation", 6),
    TaskSpec("depth", "depth", 1),
    TaskSpec("normal", "normals", 3),
)


@pytest.fixture(scope="module")
def batch() -> tuple[Batch, dict[str, torch.Tensor]]:
    """10 instances on 6 x 7 pixels; the class 5 never occurs, and the first instance has no depth."""
    generator = torch.Generator().manual_seed(4)
    hidden = torch.rand(10, 6, 7, generator=generator) < 0.3
    labels = torch.randint(0, 5, (10, 6, 7), generator=generator).masked_fill(hidden, -1)
    depth = (torch.rand(10, 1, 6, 7, generator=generator) + 0.2).masked_fill(hidden[:, None], 0)
    normal = torch.randn(10, 3, 6, 7, generator=generator).masked_fill(hidden[:, None], 0)
    logits = torch.randn(10, 6, 6, 7, generator=generator)
    logits[:, 5] = -50
    outputs = {
        "scene": torch.randn(10, 2, generator=generator),
        "segmentation": logits,
        "depth": depth + 0.2 * torch.randn(depth.shape, generator=generator),
        "normal": normal + 0.5 * torch.randn(normal.shape, generator=generator),
    }
    targets = {
        "scene": torch.zeros(10, dtype=torch.int64),
        "segmentation": labels.to(torch.int16),
        "depth": depth,
        "normal": normal,
    }
    present = torch.ones(10, 4, dtype=torch.bool)
    present[0, 2] = False
    return Batch(torch.zeros(10, 1), targets, present), outputs


def fed(metrics: DenseMetrics, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    for part in torch.split(torch.arange(len(outputs)), 3):
        metrics.update(outputs[part], targets[part])
    return metrics.figures()


def test_segmentation_agrees_with_torchmetrics(batch: tuple[Batch, dict[str, torch.Tensor]]) -> None:
    outputs, targets = batch[1]["segmentation"], batch[0].targets["segmentation"]
    found = fed(SegmentationMetrics(6), outputs, targets)
    answers, labels = outputs.argmax(dim=1), targets.long()
    iou = MulticlassJaccardIndex(6, average="macro", ignore_index=-1)(answers, labels)
    accuracy = MulticlassAccuracy(6, average="micro", ignore_index=-1)(answers, labels)
    assert found["mean_iou"] == pytest.approx(100 * float(iou), abs=1e-4)
    assert found["pixel_accuracy"] == pytest.approx(100 * float(accuracy), abs=1e-4)


def test_segmentation_agrees_with_a_slow_loop(batch: tuple[Batch, dict[str, torch.Tensor]]) -> None:
    outputs, targets = batch[1]["segmentation"], batch[0].targets["segmentation"]
    pairs = [
        (label, answer)
        for label, answer in zip(
            targets.flatten().tolist(), outputs.argmax(dim=1).flatten().tolist(), strict=True
        )
        if label >= 0
    ]
    shares = []
    for class_ in range(6):
        both = sum(label == class_ and answer == class_ for label, answer in pairs)
        either = sum(label == class_ or answer == class_ for label, answer in pairs)
        if either:
            shares.append(both / either)
    assert len(shares) == 5
    found = fed(SegmentationMetrics(6), outputs, targets)
    assert found["mean_iou"] == pytest.approx(100 * np.mean(shares))


def test_depth_agrees_with_torchmetrics_and_a_slow_loop(batch: tuple[Batch, dict[str, torch.Tensor]]) -> None:
    outputs, targets = batch[1]["depth"], batch[0].targets["depth"]
    found = fed(DepthMetrics(), outputs, targets)
    given, true = outputs[targets > 0].double(), targets[targets > 0].double()
    assert found["absolute_error"] == pytest.approx(float(MeanAbsoluteError()(given, true)), rel=1e-5)
    assert found["relative_error"] == pytest.approx(
        float(MeanAbsolutePercentageError()(given, true)), rel=1e-5
    )
    root = MeanSquaredError(squared=False)(given, true)
    assert found["root_mean_square_error"] == pytest.approx(float(root), rel=1e-5)
    for power, name in ((1, "1.25"), (2, "1.25^2"), (3, "1.25^3")):
        hits = [
            answer > 0 and max(answer / depth, depth / answer) < 1.25**power
            for answer, depth in zip(given.tolist(), true.tolist(), strict=True)
        ]
        assert found[f"within_delta_{name}"] == pytest.approx(100 * np.mean(hits))


def test_normals_agree_with_a_slow_loop(batch: tuple[Batch, dict[str, torch.Tensor]]) -> None:
    outputs, targets = batch[1]["normal"], batch[0].targets["normal"]
    angles = []
    for given, true in zip(
        outputs.permute(0, 2, 3, 1).reshape(-1, 3).tolist(),
        targets.permute(0, 2, 3, 1).reshape(-1, 3).tolist(),
        strict=True,
    ):
        if true != [0, 0, 0]:
            cosine = np.dot(given, true) / np.linalg.norm(given) / np.linalg.norm(true)
            angles.append(degrees(acos(min(1, max(-1, cosine)))))
    found = fed(NormalsMetrics(), outputs, targets)
    assert found["angle_mean"] == pytest.approx(np.mean(angles), rel=1e-6)
    assert found["angle_median"] == pytest.approx(np.median(angles), abs=0.01)
    for bound, name in ((11.25, "11.25"), (22.5, "22.5"), (30, "30")):
        assert found[f"within_{name}_degrees"] == pytest.approx(100 * np.mean(np.array(angles) < bound))


def test_known_values() -> None:
    """Three of four pixels right; class 0: 2 of 3, class 1: 1 of 2, class 2 nowhere."""
    answers = torch.nn.functional.one_hot(torch.tensor([[[0, 0, 0, 1]]]), 3).permute(0, 3, 1, 2).float()
    found = fed(SegmentationMetrics(3), answers, torch.tensor([[[0, 0, 1, 1]]]))
    assert found == pytest.approx({"mean_iou": 100 * (2 / 3 + 1 / 2) / 2, "pixel_accuracy": 75.0})

    depth = fed(DepthMetrics(), torch.tensor([[[[1.0, 3.0, 9.0]]]]), torch.tensor([[[[1.0, 2.0, 0.0]]]]))
    assert depth == pytest.approx(
        {
            "absolute_error": 0.5,
            "relative_error": 0.25,
            "root_mean_square_error": sqrt(0.5),
            "within_delta_1.25": 50.0,
            "within_delta_1.25^2": 100.0,
            "within_delta_1.25^3": 100.0,
        }
    )

    turned = [(np.cos(np.radians(angle)), np.sin(np.radians(angle)), 0.0) for angle in (0, 20, 90, 180)]
    answers = torch.tensor(turned).permute(1, 0)[None, :, None]
    truth = torch.tensor([(2.0, 0.0, 0.0)] * 4).permute(1, 0)[None, :, None]
    normal = fed(NormalsMetrics(), answers, truth)
    assert normal["angle_mean"] == pytest.approx(72.5)
    assert normal["angle_median"] == pytest.approx(55, abs=0.01)
    assert normal["within_11.25_degrees"] == 25
    assert normal["within_22.5_degrees"] == normal["within_30_degrees"] == 50


def test_nothing_to_measure_is_nan() -> None:
    for metrics in (SegmentationMetrics(3), DepthMetrics(), NormalsMetrics()):
        assert all(isnan(value) for value in metrics.figures().values())
    assert nan not in SegmentationMetrics(3).figures()


class Remembering(nn.Module):
    """Answers row numbers, given as inputs, with stored outputs."""

    def __init__(self, outputs: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        assert not self.training
        return {name: values[rows] for name, values in self.outputs.items()}


class Fixed:
    """`Data` over one batch, whose inputs are the row numbers."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.ids = [str(row) for row in range(len(batch.present))]
        self.present = batch.present

    def __len__(self) -> int:
        return len(self.ids)

    def fetch(self, rows: torch.Tensor) -> Batch:
        targets = {name: values[rows] for name, values in self.batch.targets.items()}
        return Batch(rows, targets, self.present[rows])


def figures_of(
    network: nn.Module, data: Fixed, rows: torch.Tensor, counted: torch.Tensor, monitor: Monitor = SILENT
) -> dict[str, dict[str, float]]:
    progress = Progress(monitor, len(rows))
    return literature_figures(
        network, TASKS, data, rows, counted, device=torch.device("cpu"), progress=progress, note="looking"
    )


@pytest.fixture
def four_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "INSTANCES_AT_ONCE", 4)


@pytest.mark.usefixtures("four_at_once")
def test_figures_over_a_data_set(batch: tuple[Batch, dict[str, torch.Tensor]]) -> None:
    network = Remembering(batch[1])
    found = figures_of(network, Fixed(batch[0]), torch.arange(10), batch[0].present)
    assert list(found) == ["segmentation", "depth", "normal"]
    assert network.training
    targets = batch[0].targets
    assert found["segmentation"] == fed(
        SegmentationMetrics(6), batch[1]["segmentation"], targets["segmentation"]
    )
    without_first = fed(DepthMetrics(), batch[1]["depth"][1:], targets["depth"][1:])
    assert found["depth"] == pytest.approx(without_first)


@pytest.mark.usefixtures("four_at_once")
def test_only_the_labels_that_count_are_looked_at(batch: tuple[Batch, dict[str, torch.Tensor]]) -> None:
    """Of rows in any order; the monitor hears of each batch."""
    rows, counted = torch.tensor([7, 2, 9, 4, 1]), torch.zeros(5, 4, dtype=torch.bool)
    counted[[0, 2, 4], 1] = True
    counted[:2, 3] = True
    heard: list[tuple[int, int]] = []

    class Listening(Silent):
        def progress(self, done: int, total: int, note: str) -> None:
            heard.append((done, total))

    found = figures_of(Remembering(batch[1]), Fixed(batch[0]), rows, counted, Listening())
    targets = batch[0].targets
    mine = torch.tensor([7, 9, 1])
    assert found["segmentation"] == fed(
        SegmentationMetrics(6), batch[1]["segmentation"][mine], targets["segmentation"][mine]
    )
    assert found["normal"] == fed(NormalsMetrics(), batch[1]["normal"][[7, 2]], targets["normal"][[7, 2]])
    assert all(isnan(value) for value in found["depth"].values())
    assert heard == [(4, 5), (5, 5)]


@pytest.mark.usefixtures("four_at_once")
def test_as_many_at_once_as_fit_and_none_counted_twice(
    batch: tuple[Batch, dict[str, torch.Tensor]],
) -> None:
    class Small(Remembering):
        def forward(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
            if len(rows) > 1:
                raise torch.OutOfMemoryError
            return super().forward(rows)

    data, rows = Fixed(batch[0]), torch.arange(10)
    found = figures_of(Small(batch[1]), data, rows, batch[0].present)
    expected = figures_of(Remembering(batch[1]), data, rows, batch[0].present)
    assert {name: pytest.approx(figures) for name, figures in expected.items()} == found


def test_the_report_has_none_in_place_of_what_is_no_number(
    batch: tuple[Batch, dict[str, torch.Tensor]],
) -> None:
    """A part without a label of a task is None altogether; an answer that is no number spoils its figures."""
    broken = {name: values.clone() for name, values in batch[1].items()}
    broken["normal"][3, 0, 0, 0] = nan
    broken["depth"][4] = nan
    counted = batch[0].present.clone()
    counted[:, 1] = False
    found = literature(
        Remembering(batch[1]), Remembering(broken), TASKS,
        {"holdout": Part(Fixed(batch[0]), torch.arange(10), counted)},
        device=torch.device("cpu"), progress=Progress(SILENT, 20),
    )  # fmt: skip
    json.dumps(found, allow_nan=False)
    assert set(found) == {"segmentation", "depth", "normal"}
    assert found["segmentation"] == {"holdout": None}
    before, after = found["depth"]["holdout"]["before"], found["depth"]["holdout"]["after"]
    assert before["absolute_error"] == pytest.approx(0.16, abs=0.02)
    assert after["absolute_error"] is None
    assert 0 < after["within_delta_1.25"] < before["within_delta_1.25"]
    assert found["normal"]["holdout"]["before"]["angle_mean"] is not None
    assert found["normal"]["holdout"]["after"]["angle_mean"] is None


def test_without_a_dense_task_no_pass_is_made(batch: tuple[Batch, dict[str, torch.Tensor]]) -> None:
    class Never(Fixed):
        def fetch(self, rows: torch.Tensor) -> Batch:
            raise AssertionError(rows)

    found = literature(
        Remembering(batch[1]), Remembering(batch[1]), TASKS[:1],
        {"holdout": Part(Never(batch[0]), torch.arange(10), batch[0].present)},
        device=torch.device("cpu"), progress=Progress(SILENT, 1),
    )  # fmt: skip
    assert found == {}
