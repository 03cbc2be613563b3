"""Larger networks, from configurations alone: shapes, sizes, determinism, bounds."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from worker.engine.contract import Refused, TaskSpec
from worker.engine.networks import build_network, count_parameters

DENSE = (
    TaskSpec("segmentation", "segmentation", 5),
    TaskSpec("depth", "depth", 1),
    TaskSpec("normal", "normals", 3),
    TaskSpec("scene", "classification", 4),
)
TEXT = (TaskSpec("topic", "classification", 4), TaskSpec("tone", "regression", 1))
FOUR: dict[str, Any] = {"widths": [8, 8, 16, 16], "depths": [1, 1, 2, 1], "head_width": 8}
SEGFORMER = {"kind": "segformer", **FOUR, "attention_heads": [1, 1, 2, 2]}
DEEPLAB = {"kind": "deeplab", "stem": 8, **FOUR, "dilations": [1, 2]}
TEXT_SPEC = {"kind": "text", "vocabulary": 30, "length": 12, "width": 16, "layers": 2}
# specification, smallest input, another input of odd size
NETWORKS: list[tuple[dict[str, Any], tuple[int, int], tuple[int, int]]] = [
    (DEEPLAB, (16, 16), (17, 35)),
    ({**DEEPLAB, "block": "basic", "output_stride": 16}, (32, 32), (33, 41)),
    (SEGFORMER, (32, 32), (33, 47)),
    ({"kind": "convnext", **FOUR}, (32, 32), (33, 50)),
    ({"kind": "segnet", "widths": [4, 8], "depths": [1, 2]}, (4, 4), (5, 9)),
]


def build(spec: dict[str, Any], tasks: tuple[TaskSpec, ...] = DENSE, seed: int = 1) -> nn.Module:
    return build_network(spec, tasks, torch.Generator().manual_seed(seed))


def images(batch: int, size: tuple[int, int]) -> Tensor:
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("spec", "smallest", "odd"), NETWORKS, ids=lambda value: str(value)[:22])
class TestDenseNetworks:
    def test_answers_at_the_input_s_size_and_learns_everywhere(
        self, spec: dict[str, Any], smallest: tuple[int, int], odd: tuple[int, int]
    ) -> None:
        """Also with a single image, in training mode, where batch normalisation could fail."""
        network = build(spec)
        for batch, size in ((1, smallest), (2, odd)):
            outputs = network(images(batch, size))
            assert {name: tuple(output.shape) for name, output in outputs.items()} == {
                "segmentation": (batch, 5, *size),
                "depth": (batch, 1, *size),
                "normal": (batch, 3, *size),
                "scene": (batch, 4),
            }
        sum(output.square().sum() for output in outputs.values()).backward()
        assert [name for name, values in network.named_parameters() if values.grad is None] == []
        assert all(bool(values.grad.isfinite().all()) for values in network.parameters())

    def test_values_come_from_the_generator_alone(
        self, spec: dict[str, Any], smallest: tuple[int, int], odd: tuple[int, int]
    ) -> None:
        torch.manual_seed(7)
        before = torch.get_rng_state()
        first = build(spec).state_dict()
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(8)
        again, other = build(spec).state_dict(), build(spec, seed=2).state_dict()
        assert all(torch.equal(values, again[name]) for name, values in first.items())
        assert not all(torch.equal(values, other[name]) for name, values in first.items())
        assert {values.dtype for values in first.values()} <= {torch.float32, torch.int64}

    def test_a_batch_is_answered_image_by_image(
        self, spec: dict[str, Any], smallest: tuple[int, int], odd: tuple[int, int]
    ) -> None:
        network, inputs = build(spec).eval(), images(3, odd)
        with torch.no_grad():
            together, alone = network(inputs), [network(image[None]) for image in inputs]
        for name, output in together.items():
            expected = torch.cat([answer[name] for answer in alone])
            torch.testing.assert_close(output, expected, rtol=1e-3, atol=1e-4)

    def test_inputs_that_do_not_fit_are_refused(
        self, spec: dict[str, Any], smallest: tuple[int, int], odd: tuple[int, int]
    ) -> None:
        network = build(spec)
        for inputs in (images(2, (smallest[0] - 1, 64)), images(2, odd)[:, :2], images(2, odd)[0]):
            with pytest.raises(Refused) as refused:
                network(inputs)
            assert refused.value.code == "network_input_mismatch"

    def test_parameters_belong_to_shared_or_to_a_head(
        self, spec: dict[str, Any], smallest: tuple[int, int], odd: tuple[int, int]
    ) -> None:
        names = {name.split(".")[0] for name in build(spec).state_dict()}
        assert names == {"shared", "heads"}


def test_defaults_have_the_published_sizes() -> None:
    """MTAN's code gives 24,981,069 parameters for its SegNet with one segmentation head of 13 classes.
    torchvision's deeplabv3_resnet50 has 39,638,869 for 21 classes, without its auxiliary head; ours has
    256 less, because the image's mean is not normalised there."""
    indoors = TaskSpec("segmentation", "segmentation", 13)
    voc = TaskSpec("segmentation", "segmentation", 21)
    assert count_parameters({"kind": "segnet"}, (indoors,)) == 24_981_069
    assert count_parameters({"kind": "deeplab"}, (voc,)) == 39_638_869 - 256


def test_output_stride_8_keeps_an_eighth_of_the_grid_and_dilates() -> None:
    network: Any = build(DEEPLAB)
    assert network.shared(images(1, (64, 48))).shape == (1, 16, 8, 6)
    stages = network.shared.model.encoder.stages
    dilations = [
        [module.dilation[0] for module in stage.modules() if getattr(module, "kernel_size", 0) == (3, 3)]
        for stage in stages
    ]
    assert dilations == [[1], [1], [1, 2], [2]]


def test_dilation_keeps_what_a_filter_sees() -> None:
    """With equal weights, output stride 8 is output stride 32 computed densely: every fourth position agrees
    (away from the borders, where padding differs)."""
    dense: Any = build(DEEPLAB).eval()
    strided: Any = build({**DEEPLAB, "output_stride": 32}).eval()
    strided.load_state_dict(dense.state_dict())
    inputs = images(1, (256, 256))
    with torch.no_grad():
        fine, coarse = dense.shared(inputs), strided.shared(inputs)
    assert coarse.shape[2:] == (8, 8)
    torch.testing.assert_close(fine[..., ::4, ::4][..., 3:-3, 3:-3], coarse[..., 3:-3, 3:-3])


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({**DEEPLAB, "output_stride": 4}, "output_stride"),
        ({**DEEPLAB, "block": "inverted"}, "block"),
        ({**DEEPLAB, "widths": [8, 8, 16]}, "widths"),
        ({**DEEPLAB, "depths": [1, 1, 1, 10**6]}, "depths"),
        ({**DEEPLAB, "dilations": []}, "dilations"),
        ({**DEEPLAB, "dropout": 1}, "dropout"),
        ({**DEEPLAB, "head_width": True}, "head_width"),
        ({**DEEPLAB, "pretrained": True}, "pretrained"),
        ({**SEGFORMER, "attention_heads": [1, 1, 2, 3]}, "attention_heads"),
        ({**SEGFORMER, "reductions": "8421"}, "reductions"),
        ({"kind": "convnext", **FOUR, "channels": 0}, "channels"),
        ({"kind": "segnet", "widths": [8] * 9}, "widths"),
        ({"kind": "segnet", "widths": [8, 8], "depths": [1]}, "depths"),
        ({"kind": "segnet", "widths": [4096] * 8, "depths": [16] * 8}, "parameters"),
        ({"kind": "mlp", "inputs": 4, "hidden": [4]}, "answer per pixel"),
        ({"kind": "unet"}, "kind"),
        ({"kind": ["deeplab"]}, "kind"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_specifications_are_refused(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused, match=field) as refused:
        build(spec)
    assert refused.value.code == "network_spec_invalid"


def test_text_answers_and_ignores_padding() -> None:
    network = build(TEXT_SPEC, TEXT).eval()
    tokens = torch.tensor([[5, 6, 7, 0, 0], [8, 9, 10, 11, 12]])
    outputs = network(tokens)
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {
        "topic": (2, 4),
        "tone": (2, 1),
    }
    shorter, longer = (
        network(tokens[:1, :3]),
        network(torch.cat([tokens[:1], torch.zeros(1, 7).long()], dim=1)),
    )
    for name in outputs:
        torch.testing.assert_close(outputs[name][:1], shorter[name], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(outputs[name][:1], longer[name], rtol=1e-4, atol=1e-5)


def test_text_learns_everywhere_and_bears_an_empty_one() -> None:
    network = build(TEXT_SPEC, TEXT)
    outputs = network(torch.tensor([[0, 0, 0], [4, 5, 6]]))
    sum(output.square().sum() for output in outputs.values()).backward()
    assert all(bool(values.grad.isfinite().all()) for values in network.parameters())


@pytest.mark.parametrize(
    "tokens",
    [
        torch.zeros(2, 3),
        torch.zeros(2, 13).long(),
        torch.zeros(2).long(),
        torch.tensor([[30]]),
        torch.tensor([[-1]]),
    ],
    ids=["reals", "long", "flat", "beyond", "negative"],
)
def test_text_refuses_what_are_no_tokens(tokens: Tensor) -> None:
    with pytest.raises(Refused) as refused:
        build(TEXT_SPEC, TEXT)(tokens)
    assert refused.value.code == "network_input_mismatch"


@pytest.mark.parametrize(
    "change",
    [{"vocabulary": 1}, {"length": None}, {"width": 15}, {"pad": 30}, {"layers": 1000}, {"dropout": -0.1}],
)
def test_bad_text_specifications_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        build({**TEXT_SPEC, **change}, TEXT)
    assert refused.value.code == "network_spec_invalid"
