"""Rendered rooms: geometry that agrees with itself, noise that is repeatable, files that the loader reads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.scenes.annotation import AnnotationNoise, annotate
from benchmarks.scenes.arrangement import furnish
from benchmarks.scenes.classes import CLASSES, NUMBER, VOID
from benchmarks.scenes.contact_sheet import write_contact_sheet
from benchmarks.scenes.raycast import Solid, cast
from benchmarks.scenes.rendering import FIELD_OF_VIEW, View, render
from benchmarks.scenes.styles import make_styles
from benchmarks.scenes.writing import ScenesPlan, write_scenes
from benchmarks.unlearning.sources import SCENES
from worker.engine.data import open_data

SILENT = AnnotationNoise(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def _view(seed: int) -> tuple[View, float]:
    """A room, and the height of its camera's tilt."""
    style = make_styles(seed, 1)[0]
    room = furnish(style, np.random.default_rng(seed))
    return render(style, room, 24, 32, np.random.default_rng(seed)), room.pitch


def _camera_points(view: View) -> np.ndarray:
    """(H, W, 3) from depth alone: right, up, towards the viewer."""
    height, width = view.depth.shape
    reach = np.tan(FIELD_OF_VIEW / 2)
    across = ((np.arange(width) + 0.5) / width * 2 - 1) * reach
    down = (1 - (np.arange(height) + 0.5) / height * 2) * reach * height / width
    x, y = np.meshgrid(across, down)
    return np.stack([x * view.depth, y * view.depth, -view.depth], axis=2)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_depth_and_normals_tell_of_the_same_floor(seed: int) -> None:
    view, pitch = _view(seed)
    floor = view.label == NUMBER["floor"]
    assert floor.sum() > 20
    up = view.normal[floor][0]
    np.testing.assert_allclose(view.normal[floor] - up, 0.0, atol=1e-9)
    np.testing.assert_allclose(up, [0.0, np.cos(pitch), -np.sin(pitch)], atol=1e-9)
    heights = _camera_points(view)[floor] @ up
    np.testing.assert_allclose(heights, heights[0], atol=1e-9)


def test_every_surface_faces_the_viewer() -> None:
    view, _ = _view(3)
    rays = _camera_points(view)
    assert ((rays * view.normal).sum(axis=2) < 0).all()
    np.testing.assert_allclose(np.linalg.norm(view.normal, axis=2), 1.0)


def test_a_ray_meets_a_box_and_a_ball_where_they_are() -> None:
    room = np.array([[-5.0, 0.0, 0.0], [5.0, 5.0, 10.0]])
    origins = np.array([[0.0, 1.0, 1.0], [3.0, 1.0, 1.0], [-3.0, 1.0, 1.0]])
    ahead = np.tile([0.0, 0.0, 1.0], (3, 1))
    solids = (Solid(5, (0, 1, 4), (1, 1, 1)), Solid(7, (3, 1, 5), (0.5, 0.5, 0.5), ball=True))
    hits = cast(origins, ahead, room, solids)
    np.testing.assert_allclose(hits.distances, [2.0, 3.5, 9.0])
    assert hits.solids.tolist() == [1, 2, 0]
    np.testing.assert_allclose(hits.normals, np.tile([0.0, 0.0, -1.0], (3, 1)), atol=1e-12)


def test_an_annotator_without_noise_writes_the_truth() -> None:
    view, _ = _view(4)
    seen = annotate(view, SILENT, np.random.default_rng(0))
    np.testing.assert_array_equal(seen.label, view.label)
    np.testing.assert_allclose(seen.depth, view.depth)
    np.testing.assert_allclose(seen.normal, view.normal)


@pytest.mark.parametrize("kind", ["mislabelled", "void", "unmeasured", "depth_scale", "depth_offset", "tilt"])
def test_each_noise_spoils_its_own_target_and_no_other(kind: str) -> None:
    """Region by region, for as large a share of them as is asked."""
    view, _ = _view(4)
    regions = view.solid * len(CLASSES) + view.label
    count = len(np.unique(regions))
    share = kind in ("mislabelled", "void", "unmeasured")
    noise = replace(SILENT, **{kind: 0.5 if share else 0.3})
    wrong, draws = 0, 100 if share else 1
    for seed in range(draws):
        seen = annotate(view, noise, np.random.default_rng(seed))
        factors = seen.depth / view.depth
        off = {
            "label": seen.label != view.label,
            "depth": ~np.isclose(factors, 1.0),
            "normal": ~np.isclose(seen.normal, view.normal).all(axis=2),
        }
        own = {"mislabelled": "label", "void": "label", "tilt": "normal"}.get(kind, "depth")
        assert not any(mask.any() for name, mask in off.items() if name != own)
        np.testing.assert_allclose(np.linalg.norm(seen.normal, axis=2), 1.0)
        if kind == "void":
            assert (seen.label[off["label"]] == VOID).all()
        if kind == "mislabelled":
            assert set(np.unique(seen.label)) <= set(range(len(CLASSES)))
        if kind == "unmeasured":
            assert (seen.depth[off["depth"]] == 0).all()
        if not share:
            assert off[own].mean() > 0.9
        if kind == "depth_scale":
            np.testing.assert_allclose(factors, factors[0, 0])
        for region in np.unique(regions):
            mask = regions == region
            assert off[own][mask].all() or not off[own][mask].any()
            wrong += bool(off[own][mask].all())
            if kind == "depth_offset":
                np.testing.assert_allclose(factors[mask], factors[mask][0])
        if kind == "depth_offset":
            assert len(np.unique(factors.round(9))) == count
    if share:
        drawn = 1 - 1 / len(CLASSES) if kind == "mislabelled" else 1.0  # a wrong label may be the right one
        assert wrong / (count * draws) == pytest.approx(0.5 * drawn, abs=0.1)


def test_the_same_seed_writes_the_same_files_and_the_engine_reads_them(tmp_path: Path) -> None:
    plan = ScenesPlan(train=6, val=3, styles=3)
    first, second = (write_scenes(tmp_path / name, plan, seed=5) for name in ("a", "b"))
    files = sorted(file.relative_to(first) for file in first.rglob("*.npy"))
    assert len(files) == 9 * 4 + 2
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes()
    data = open_data("nyuv2", first / "train", SCENES.tasks)
    batch = data.fetch(torch.arange(len(data)))
    assert batch.inputs.shape == (6, 3, 24, 32)
    assert bool(data.present.all())
    assert int(batch.targets["segmentation"].max()) < len(CLASSES)
    write_contact_sheet(first, tmp_path / "sheet.png", rooms=2)
    assert (tmp_path / "sheet.png").stat().st_size > 1000
