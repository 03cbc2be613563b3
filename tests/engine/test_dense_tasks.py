"""Dense task kinds: known values, a slow loop over pixels, and what is refused."""

from math import acos, degrees, log

import numpy as np
import pytest
import torch
from torch import Tensor

from worker.engine.contract import Refused, TaskSpec
from worker.engine.tasks import is_dense, kind_of
from worker.engine.tasks.depth import Depth
from worker.engine.tasks.normals import Normals
from worker.engine.tasks.segmentation import Segmentation

SEGMENTATION = TaskSpec("segmentation", "segmentation", 4)
DEPTH = TaskSpec("depth", "depth", 1)
NORMAL = TaskSpec("normal", "normals", 3)
ONE = torch.ones(())


def sample(spec: TaskSpec, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs and targets of 5 instances on 3 x 4 pixels, a third of them invalid, the last instance wholly;
    and which instances are present."""
    generator = np.random.default_rng(seed)
    invalid = generator.random((5, 3, 4)) < 1 / 3
    invalid[-1] = True
    if spec.kind == "segmentation":
        array = np.where(invalid, -1, generator.integers(0, 4, (5, 3, 4)))
    elif spec.kind == "depth":
        array = np.where(invalid, 0, generator.uniform(0.1, 5, (5, 3, 4)))[..., None]
    else:
        array = np.where(invalid[..., None], 0, generator.normal(size=(5, 3, 4, 3)))
        array = np.moveaxis(array, 3, 1)
    targets, present = kind_of(spec).read(array, spec)
    outputs = torch.from_numpy(generator.normal(1, 1, (5, spec.outputs, 3, 4)).astype(np.float32))
    return outputs, targets, present


def slow(spec: TaskSpec, outputs: Tensor, targets: Tensor) -> tuple[list[float], list[float]]:
    """Losses and scores, pixel by pixel in plain Python."""
    losses, scores = [], []
    for given, true in zip(outputs.double(), targets.double(), strict=True):
        values, hits = [], []
        for row in range(true.shape[-2]):
            for column in range(true.shape[-1]):
                answer = given[:, row, column].tolist()
                if spec.kind == "segmentation":
                    label = int(true[row, column])
                    if label == -1:
                        continue
                    values.append(log(sum(np.exp(answer))) - answer[label])
                    hits.append(answer.index(max(answer)) == label)
                elif spec.kind == "depth":
                    depth = float(true[0, row, column])
                    if depth == 0:
                        continue
                    values.append(abs(answer[0] - depth))
                    hits.append(answer[0] > 0 and max(answer[0] / depth, depth / answer[0]) < 1.25)
                else:
                    normal = true[:, row, column].tolist()
                    if normal == [0, 0, 0]:
                        continue
                    cosine = np.dot(answer, normal) / np.linalg.norm(answer) / np.linalg.norm(normal)
                    values.append(1 - cosine)
                    hits.append(degrees(acos(min(1, max(-1, cosine)))) < 30)
        losses.append(float(np.mean(values)) if values else 0.0)
        scores.append(float(np.mean(hits)) if hits else 0.0)
    return losses, scores


@pytest.mark.parametrize("spec", [SEGMENTATION, DEPTH, NORMAL], ids=lambda spec: spec.kind)
class TestEveryKind:
    def test_agrees_with_a_loop_over_pixels(self, spec: TaskSpec) -> None:
        outputs, targets, present = sample(spec)
        kind = kind_of(spec)
        losses, scores = slow(spec, outputs, targets)
        assert present.tolist() == [True] * 4 + [False]
        assert kind.losses(outputs, targets).tolist() == pytest.approx(losses, abs=1e-5)
        assert kind.scores(outputs, targets, kind.fit_ruler(targets)).tolist() == pytest.approx(scores)
        assert is_dense(spec)

    def test_invalid_pixels_have_no_gradient_and_no_say(self, spec: TaskSpec) -> None:
        outputs, targets, _ = sample(spec, seed=1)
        kind = kind_of(spec)
        outputs.requires_grad_(True)
        kind.losses(outputs, targets).sum().backward()
        assert outputs.grad is not None
        if spec.kind == "segmentation":
            invalid = (targets == -1)[:, None].expand_as(outputs)
        else:
            invalid = (targets == 0).all(dim=1, keepdim=True).expand_as(outputs)
        assert bool((outputs.grad[invalid] == 0).all())
        assert bool((outputs.grad[~invalid] != 0).any())
        changed = torch.where(invalid, outputs.detach() * -3, outputs.detach())
        assert torch.equal(kind.losses(changed, targets), kind.losses(outputs, targets))
        assert torch.equal(kind.scores(changed, targets, ONE), kind.scores(outputs, targets, ONE))

    def test_divergence_is_zero_for_the_same_and_positive_for_others(self, spec: TaskSpec) -> None:
        outputs, _, _ = sample(spec)
        others, _, _ = sample(spec, seed=2)
        kind = kind_of(spec)
        assert kind.divergences(outputs, outputs).tolist() == pytest.approx([0] * 5, abs=1e-6)
        assert bool((kind.divergences(outputs, others) > 0.01).all())

    def test_instances_do_not_influence_each_other(self, spec: TaskSpec) -> None:
        outputs, targets, _ = sample(spec)
        kind = kind_of(spec)
        alone = torch.cat([kind.losses(outputs[row : row + 1], targets[row : row + 1]) for row in range(5)])
        torch.testing.assert_close(kind.losses(outputs, targets), alone)

    def test_an_answer_of_another_size_is_refused(self, spec: TaskSpec) -> None:
        outputs, targets, _ = sample(spec)
        with pytest.raises(Refused) as refused:
            kind_of(spec).losses(outputs[..., :2, :], targets)
        assert refused.value.code == "network_output_mismatch"

    def test_reading_leaves_the_stored_array_alone(self, spec: TaskSpec) -> None:
        shape = (2, 3, 4) if spec.kind == "segmentation" else (2, spec.outputs, 3, 4)
        array = np.full(shape, -1, dtype=np.float32)
        array.setflags(write=False)
        targets, _ = kind_of(spec).read(array, spec)
        targets.add_(5)
        assert bool((array == -1).all())


def test_known_values() -> None:
    """Two pixels, of which the second is invalid, and then both valid."""
    logits = torch.log(torch.tensor([[[[0.25, 0.9]], [[0.75, 0.1]]]]))
    labels = torch.tensor([[[1, -1]], [[1, 1]]], dtype=torch.int16)
    losses = Segmentation().losses(logits.expand(2, -1, -1, -1), labels)
    assert losses.tolist() == pytest.approx([-log(0.75), (-log(0.75) - log(0.1)) / 2])
    assert Segmentation().scores(logits, labels[:1], ONE).tolist() == [1.0]

    depths = torch.tensor([[[[2.0, 0.0]]], [[[2.0, 4.0]]]])
    given = torch.tensor([[[[2.4, 9.0]]], [[[2.6, -4.0]]]])
    assert Depth().losses(given, depths).tolist() == pytest.approx([0.4, 4.3])
    assert Depth().scores(given, depths, ONE).tolist() == [1.0, 0.0]
    assert Depth().scores(1 / given, 1 / depths[:1].clamp(min=1e-9), ONE).tolist()[0] == 0.5

    up, slanted = [0.0, 0.0, 1.0], [0.0, 0.6, 0.8]
    normals = torch.tensor([[up, up]]).permute(0, 2, 1)[:, :, None]
    answers = 7 * torch.tensor([[up, slanted]]).permute(0, 2, 1)[:, :, None]
    assert Normals().losses(answers, normals).tolist() == pytest.approx([0.1])
    assert Normals().scores(answers, normals, ONE).tolist() == [0.5]  # 0.6 up is 36.9 degrees


def test_delta_says_the_same_of_depth_and_disparity() -> None:
    generator = torch.Generator().manual_seed(3)
    given, true = (torch.rand(4, 1, 5, 6, generator=generator) + 0.5 for _ in range(2))
    assert torch.equal(Depth().scores(given, true, ONE), Depth().scores(1 / given, 1 / true, ONE))


def test_a_normal_of_length_zero_has_a_finite_gradient() -> None:
    answers = torch.zeros(1, 3, 1, 2, requires_grad=True)
    target = torch.tensor([[[[0.0, 1.0]], [[0.0, 0.0]], [[1.0, 0.0]]]])
    Normals().losses(answers, target).sum().backward()
    assert answers.grad is not None
    assert bool(answers.grad.isfinite().all())
    assert float(answers.grad.abs().max()) < 10


def test_labels_may_be_stored_as_reals_but_must_be_whole() -> None:
    targets, present = Segmentation().read(np.array([[[0.0, 3.0]], [[-1.0, -1.0]]]), SEGMENTATION)
    assert targets.tolist() == [[[0, 3]], [[-1, -1]]]
    assert present.tolist() == [True, False]
    with pytest.raises(Refused, match=r"0\.5 at position 0"):
        Segmentation().read(np.array([[[0.5, 3.0]]]), SEGMENTATION)


@pytest.mark.parametrize(
    ("spec", "array", "code"),
    [
        (SEGMENTATION, np.zeros((2, 3)), "data_target_invalid"),
        (SEGMENTATION, np.full((2, 3, 4), 4), "data_target_invalid"),
        (SEGMENTATION, np.full((2, 3, 4), -2), "data_target_invalid"),
        (SEGMENTATION, np.full((2, 3, 4), np.nan), "data_target_invalid"),
        (DEPTH, np.zeros((2, 3, 4, 2)), "data_target_invalid"),
        (DEPTH, np.full((2, 3, 4), "far"), "data_target_invalid"),
        (DEPTH, np.full((2, 3, 4), np.inf), "data_not_finite"),
        (DEPTH, np.full((2, 3, 4), 1e300), "data_not_finite"),
        (TaskSpec("depth", "depth", 2), np.zeros((2, 3, 4)), "data_target_invalid"),
        (NORMAL, np.zeros((2, 3, 4)), "data_target_invalid"),
        (NORMAL, np.full((2, 3, 4, 3), np.nan), "data_not_finite"),
        (TaskSpec("normal", "normals", 1), np.zeros((2, 3, 4, 3)), "data_target_invalid"),
    ],
)
def test_bad_targets_are_refused(spec: TaskSpec, array: np.ndarray, code: str) -> None:
    with pytest.raises(Refused) as refused:
        kind_of(spec).read(array, spec)
    assert refused.value.code == code
    assert repr(spec.name) in str(refused.value)


def test_read_takes_channels_first_and_last() -> None:
    values = np.random.default_rng(0).normal(size=(2, 5, 4, 3))
    last, _ = Normals().read(values, NORMAL)
    first, _ = Normals().read(np.moveaxis(values, 3, 1), NORMAL)
    assert torch.equal(first, last)
    torch.testing.assert_close(last.norm(dim=1), torch.ones(2, 5, 4))
    negative, present = Depth().read(np.array([[[-1.0, 0.0]]]), DEPTH)
    assert negative.tolist() == [[[[0.0, 0.0]]]]
    assert present.tolist() == [False]
