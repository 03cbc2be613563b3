"""Plug-ins: what the documentation shows, run; and what a broken one does."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from worker.engine.checkpoint import read_checkpoint
from worker.engine.contract import Refused, TaskSpec
from worker.engine.data import describe, open_data
from worker.engine.networks import build_network
from worker.engine.plugins import load_plugin, plugin_names
from worker.engine.tasks import kind_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "networks-and-data.md"
TASKS = (
    TaskSpec("segmentation", "segmentation", 13),
    TaskSpec("depth", "depth", 1),
    TaskSpec("normal", "normals", 3),
)


class Packages:
    """Packages with entry points, on the path of this test alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, module: str, source: str, group: str, **entries: str) -> None:
        (self.folder / f"{module}.py").write_text(source)
        information = self.folder / f"{module}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in entries.items()]
        (information / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    known = set(sys.modules)
    load_plugin.cache_clear()
    yield Packages(folder)
    load_plugin.cache_clear()
    for name in set(sys.modules) - known:
        if name.startswith("lethe_"):
            del sys.modules[name]


def documented(file: str) -> str:
    """The code block of the documentation whose first line names the file."""
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    return next(block for block in blocks if block.startswith(f'"""{file}'))


class Encoder(nn.Module):
    """The shape of LibMTL's dilated ResNet-50: (B, 3, H, W) → (B, 2048, H / 8, W / 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 2048, 8, stride=8)
        self.bn1 = nn.BatchNorm2d(2048)

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.bn1(self.conv1(inputs))
        return features


class DeepLabHead(nn.Sequential):
    def __init__(self, before: int, outputs: int) -> None:
        super().__init__(nn.Conv2d(before, 4, 1), nn.ReLU(), nn.Conv2d(4, outputs, 1))


def resnet_dilated(basenet: str, pretrained: bool = True, dilate_scale: int = 8) -> nn.Module:
    assert basenet == "resnet50"
    assert not pretrained  # it would download weights
    return Encoder()


@pytest.fixture
def libmtl(monkeypatch: pytest.MonkeyPatch) -> None:
    model, heads = ModuleType("LibMTL.model"), ModuleType("aspp")
    model.resnet_dilated = resnet_dilated  # type: ignore[attr-defined]
    heads.DeepLabHead = DeepLabHead  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "LibMTL", ModuleType("LibMTL"))
    monkeypatch.setitem(sys.modules, "LibMTL.model", model)
    monkeypatch.setitem(sys.modules, "aspp", heads)


def test_libmtl_s_network_in_under_30_lines(packages: Packages, libmtl: None) -> None:
    source = documented("lethe_libmtl.py")
    assert len(source.splitlines()) < 30
    packages.install("lethe_libmtl", source, "lethe.networks", libmtl_nyuv2="lethe_libmtl:build")
    assert plugin_names("lethe.networks") == ["libmtl_nyuv2"]
    spec = {"kind": "libmtl_nyuv2"}
    network = build_network(spec, TASKS, torch.Generator().manual_seed(3))
    again = build_network(spec, TASKS, torch.Generator().manual_seed(3))
    assert all(torch.equal(*pair) for pair in zip(network.parameters(), again.parameters(), strict=True))
    outputs = network(torch.rand(2, 3, 24, 32))
    assert [tuple(outputs[task.name].shape) for task in TASKS] == [
        (2, 13, 24, 32),
        (2, 1, 24, 32),
        (2, 3, 24, 32),
    ]


def test_libmtl_s_checkpoint_is_renamed(
    packages: Packages, libmtl: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = nn.Module()
    trained.encoder = Encoder()
    trained.decoders = nn.ModuleDict({task.name: DeepLabHead(2048, task.outputs) for task in TASKS})
    torch.save(trained.state_dict(), tmp_path / "best.pt")
    monkeypatch.chdir(tmp_path)
    exec(compile(documented("rename.py"), "rename.py", "exec"), {})
    packages.install(
        "lethe_libmtl", documented("lethe_libmtl.py"), "lethe.networks", libmtl="lethe_libmtl:build"
    )
    network = build_network({"kind": "libmtl"}, TASKS, torch.Generator())
    read_checkpoint(tmp_path / "checkpoint.safetensors", network)
    assert torch.equal(network.state_dict()["heads.depth.0.weight"], trained.decoders["depth"][0].weight)


def test_the_documented_data_format(packages: Packages, tmp_path: Path) -> None:
    packages.install(
        "lethe_csv", documented("lethe_csv.py"), "lethe.data_formats", csv="lethe_csv:csv_format"
    )
    path = tmp_path / "people.csv"
    path.write_text("id,task:tone,x,y\nann,1,0.5,2\nbob,-1,1,3\n")
    found = describe("csv", path)
    assert found.ids == ["ann", "bob"]
    assert found.targets["tone"].present.tolist() == [True, False]
    batch = open_data("csv", path, (TaskSpec("tone", "classification", 2),)).fetch(torch.tensor([1, 0]))
    assert batch.inputs.tolist() == [[1, 3], [0.5, 2]]
    assert batch.present.tolist() == [[False], [True]]


def test_the_documented_task_kind(packages: Packages) -> None:
    packages.install(
        "lethe_labels", documented("lethe_labels.py"), "lethe.task_kinds", labels="lethe_labels:labels"
    )
    spec = TaskSpec("topics", "labels", 3)
    kind = kind_of(spec)
    targets, present = kind.read(np.array([[0, 1, 1], [-1, 0, 0]]), spec)
    assert present.tolist() == [True, False]
    outputs = torch.tensor([[-4.0, 4, -4], [0, 0, 0]])
    assert kind.scores(outputs, targets, torch.ones(())).tolist()[0] == pytest.approx(2 / 3)
    assert kind.divergences(outputs, outputs).tolist() == pytest.approx([0, 0], abs=1e-6)
    network = build_network({"kind": "mlp", "inputs": 2, "hidden": [4]}, (spec,), torch.Generator())
    assert network(torch.rand(5, 2))["topics"].shape == (5, 3)


BUILD = """
from torch import nn
class Network(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
"""


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import a_package_that_nobody_has", "ModuleNotFoundError"),
        ("build = (", "SyntaxError"),
        ("raise SystemError('no such device')", "no such device"),
        ("other = 1", "AttributeError"),
        ("build = 7", "must be a function"),
        ("def build(spec, tasks):\n    return 1 / 0", "ZeroDivisionError"),
        ("def build(spec, tasks):\n    return 'network'", "gave a str"),
        (BUILD + "def build(spec, tasks):\n    return Network(shared=nn.ReLU())", "'heads'"),
        (
            BUILD + "def build(spec, tasks):\n    return Network(shared=nn.ReLU(), heads=nn.ModuleDict())",
            "the tasks are segmentation",
        ),
        (
            BUILD
            + "def build(spec, tasks):\n    heads = nn.ModuleDict({task.name: nn.ReLU() for task in tasks})\n"
            "    return Network(shared=nn.ReLU(), heads=heads, scale=nn.Linear(1, 1))",
            "scale.weight",
        ),
    ],
)
def test_a_broken_plugin_is_one_error_that_names_it(packages: Packages, source: str, reason: str) -> None:
    packages.install("lethe_broken", source, "lethe.networks", mine="lethe_broken:build")
    with pytest.raises(Refused, match=re.escape(reason)) as refused:
        build_network({"kind": "mine"}, TASKS, torch.Generator())
    assert refused.value.code == "plugin_broken"
    assert "'mine' of lethe.networks" in str(refused.value)
    build_network({"kind": "segnet", "widths": [2], "depths": [1]}, TASKS, torch.Generator())


def test_what_a_plugin_refuses_itself_passes_through(packages: Packages) -> None:
    source = (
        "from worker.engine.contract import Refused\n"
        "def build(spec, tasks):\n    raise Refused('network_spec_invalid', 'width must be even')"
    )
    packages.install("lethe_strict", source, "lethe.networks", strict="lethe_strict:build")
    with pytest.raises(Refused, match="width must be even") as refused:
        build_network({"kind": "strict"}, TASKS, torch.Generator())
    assert refused.value.code == "network_spec_invalid"


def test_two_packages_with_one_name_are_refused(packages: Packages) -> None:
    for module in ("lethe_one", "lethe_two"):
        packages.install(module, "build = print", "lethe.networks", mine=f"{module}:build")
    with pytest.raises(Refused, match="lethe_one:build of lethe_one, lethe_two:build of lethe_two"):
        build_network({"kind": "mine"}, TASKS, torch.Generator())


def test_built_in_names_stay_built_in(packages: Packages) -> None:
    packages.install(
        "lethe_thief", "raise SystemError('imported')", "lethe.networks", segnet="lethe_thief:build"
    )
    build_network({"kind": "segnet", "widths": [2], "depths": [1]}, TASKS, torch.Generator())


@pytest.mark.parametrize("group", ["lethe.data_formats", "lethe.task_kinds"])
def test_plugins_of_the_wrong_type_are_refused(packages: Packages, group: str, tmp_path: Path) -> None:
    packages.install("lethe_wrong", "class Thing:\n    metric = 'x'\n", group, mine="lethe_wrong:Thing")
    with pytest.raises(Refused) as refused:
        _ = describe("mine", tmp_path) if "formats" in group else kind_of(TaskSpec("topic", "mine", 2))
    assert refused.value.code == "plugin_broken"


def test_names_that_nobody_offers_list_what_there_is(packages: Packages, tmp_path: Path) -> None:
    packages.install(
        "lethe_csv", documented("lethe_csv.py"), "lethe.data_formats", csv="lethe_csv:csv_format"
    )
    with pytest.raises(Refused, match="arrays, cityscapes, csv, nyuv2"):
        describe("parquet", tmp_path)
    with pytest.raises(Refused, match="classification, depth, normals"):
        kind_of(TaskSpec("topic", "unknown", 2))
