"""Networks from their specifications: what they answer, where their values come from, what is refused."""

from typing import Any

import pytest
import torch

from tests.engine.digits_problem import same_bits
from worker.engine.contract import Refused, TaskSpec
from worker.engine.networks import MAX_PARAMETERS, build_network, count_parameters
from worker.engine.randomness import derived_generator

SPECS = (TaskSpec("colour", "classification", 3), TaskSpec("size", "regression", 2))
MLP: dict[str, Any] = {"kind": "mlp", "inputs": 64, "hidden": [16, 8]}
CNN: dict[str, Any] = {"kind": "cnn", "input": [1, 8, 8], "channels": [4, 8], "hidden": 16}
VISION = {"num_channels": 1, "hidden_sizes": [8, 16], "depths": [1, 1]}
PATCHES = {
    "num_channels": 1, "image_size": 16, "patch_size": 8, "hidden_size": 16,
    "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
}  # fmt: skip
TEXT = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16,
}  # fmt: skip


def transformers(model_type: str, **config: Any) -> dict[str, Any]:
    return {"kind": "transformers", "config": {"model_type": model_type, **config}}


RESNET = transformers("resnet", **VISION, embedding_size=8, layer_type="basic")
TINY = [
    RESNET,
    transformers("convnext", **VISION, num_stages=2, patch_size=2),
    transformers("convnextv2", **VISION, num_stages=2, patch_size=2),
    transformers("regnet", **VISION, embedding_size=8, groups_width=8),
    transformers("vit", **PATCHES),
    transformers("deit", **PATCHES),
    transformers("dinov2", **{key: value for key, value in PATCHES.items() if key != "intermediate_size"}),
    transformers(
        "swin",
        num_channels=1,
        image_size=16,
        patch_size=4,
        embed_dim=8,
        depths=[1],
        num_heads=[2],
        window_size=2,
    ),
    transformers("bert", **TEXT),
    transformers("roberta", **TEXT),
    transformers("distilbert", vocab_size=50, dim=16, n_layers=1, n_heads=2, hidden_dim=16),
]


def inputs(spec: dict[str, Any]) -> torch.Tensor:
    kind = spec.get("config", {}).get("model_type")
    if kind in ("bert", "roberta", "distilbert"):
        return torch.arange(10).reshape(2, 5) + 5
    side = 16 if spec["kind"] == "transformers" else 8
    return torch.rand(2, 1, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "spec", [MLP, CNN, *TINY], ids=lambda spec: spec.get("config", spec).get("model_type", "own")
)
def test_answers_every_task_and_comes_from_its_generator_alone(spec: dict[str, Any]) -> None:
    state = torch.get_rng_state()
    first = build_network(spec, SPECS, derived_generator(1, "a"))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    assert same_bits(first, build_network(spec, SPECS, derived_generator(1, "a")))
    assert not same_bits(first, build_network(spec, SPECS, derived_generator(2, "a")))
    given = first.eval()(inputs(spec))
    assert {name: tuple(values.shape) for name, values in given.items()} == {"colour": (2, 3), "size": (2, 2)}
    assert set(first.heads) == {"colour", "size"}  # type: ignore[arg-type]
    sum(values.sum() for values in given.values()).backward()
    assert any(parameter.grad is not None for parameter in first.shared.parameters())  # type: ignore[union-attr]


def test_counts_without_building() -> None:
    network = build_network(MLP, SPECS, derived_generator(0))
    assert count_parameters(MLP, SPECS) == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, "'kind'"),
        ({"kind": "perceptron"}, "'kind'"),
        ({"kind": "mlp", "hidden": [4]}, "'inputs'"),
        ({**MLP, "inputs": 0}, "'inputs'"),
        ({**MLP, "inputs": True}, "'inputs'"),
        ({**MLP, "inputs": "64"}, "'inputs'"),
        ({**MLP, "hidden": []}, "'hidden'"),
        ({**MLP, "hidden": 128}, "'hidden'"),
        ({**MLP, "hidden": [4, -1]}, "'hidden'"),
        ({**MLP, "hidden": [1] * 1000}, "'hidden'"),
        ({**MLP, "hiden": [4]}, "hiden"),
        ({**MLP, "hidden": [1_000_000, 1_000_000]}, str(MAX_PARAMETERS)),
        ({**CNN, "input": [1, 8]}, "'input'"),
        ({**CNN, "channels": [4, 4, 4, 4]}, "'channels'"),
        ({"kind": "transformers", "config": "resnet"}, "'config'"),
        (transformers("gpt9"), "'config.model_type'"),
        (transformers("bert", **{**TEXT, "num_attention_heads": 3}), "bert"),
        (transformers("vit", num_hidden_layers=10**9), "'config.num_hidden_layers'"),
        (transformers("vit", hidden_size=10**12), "'config.hidden_size'"),
        (transformers("resnet", depths=[10**6]), "'config.depths'"),
        (transformers("resnet", hidden_sizes=[10**6] * 4, embedding_size=10**6), str(MAX_PARAMETERS)),
        (transformers("resnet", auto_map={"AutoModel": "evil--code"}), "'config.auto_map'"),
        (transformers("resnet", quantization_config={}), "'config.quantization_config'"),
        (transformers("resnet", attn_implementation="kernels-community/x"), "'config.attn_implementation'"),
    ],
)
def test_wrong_specifications_are_refused_by_field(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused) as refused:
        build_network(spec, SPECS, derived_generator(0))
    assert refused.value.code == "network_spec_invalid"
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "tasks",
    [
        (),
        (SPECS[0], SPECS[0]),
        (TaskSpec("keys", "classification", 3),),
        (TaskSpec("a.b", "classification", 3),),
        (TaskSpec("colour", "classification", 0),),
    ],
)
def test_wrong_tasks_are_refused(tasks: tuple[TaskSpec, ...]) -> None:
    with pytest.raises(Refused) as refused:
        build_network(MLP, tasks, derived_generator(0))
    assert refused.value.code == "network_spec_invalid"
