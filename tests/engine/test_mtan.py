"""The folder layout of MTAN and LibMTL, on small data written in exactly that layout."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine.mtan_folders import HEIGHT, WIDTH, write, write_cityscapes, write_nyuv2
from worker.engine.contract import Refused, TaskSpec
from worker.engine.data import describe, open_data
from worker.engine.data import split_survey as survey_module
from worker.engine.data.holdout import check_disjoint
from worker.engine.data.split_folder import find_supervision, list_split

NYUV2 = (
    TaskSpec("segmentation", "segmentation", 13),
    TaskSpec("depth", "depth", 1),
    TaskSpec("normal", "normals", 3),
)
CITYSCAPES = (TaskSpec("segmentation", "segmentation", 7), TaskSpec("depth", "depth", 1))


def test_nyuv2_is_read_as_written(tmp_path: Path) -> None:
    arrays = write_nyuv2(tmp_path / "train")
    data = open_data("nyuv2", tmp_path / "train", NYUV2)
    assert list(data.ids) == [f"train/{row}" for row in range(11)]  # 10 after 9, not after 1
    assert bool(data.present.all())
    rows = torch.tensor([10, 0, 3])
    batch = data.fetch(rows)
    assert batch.inputs.shape == (3, 3, HEIGHT, WIDTH)
    assert batch.inputs.dtype == torch.float32
    for position, row in enumerate(rows.tolist()):
        np.testing.assert_array_equal(batch.inputs[position].permute(1, 2, 0).numpy(), arrays["image"][row])
        np.testing.assert_array_equal(batch.targets["segmentation"][position].numpy(), arrays["label"][row])
        np.testing.assert_array_equal(
            batch.targets["depth"][position, 0].numpy(), arrays["depth"][row, ..., 0]
        )
        np.testing.assert_allclose(
            batch.targets["normal"][position].permute(1, 2, 0).numpy(), arrays["normal"][row], atol=1e-6
        )


def test_train_and_val_do_not_share_ids(tmp_path: Path) -> None:
    write_nyuv2(tmp_path / "train")
    write_nyuv2(tmp_path / "val", 5)
    train, val = (describe("nyuv2", tmp_path / split) for split in ("train", "val"))
    assert val.ids == [f"val/{row}" for row in range(5)]
    check_disjoint(train.ids, val.ids)


def test_names_that_are_not_numbers_are_the_ids(tmp_path: Path) -> None:
    split = tmp_path / "train"
    write_nyuv2(split, 3)
    for folder in ("image", "label", "depth", "normal"):
        (split / folder / "1.npy").rename(split / folder / "scan-8841.npy")
    data = open_data("nyuv2", split, NYUV2)
    assert list(data.ids) == ["train/0", "train/2", "scan-8841"]
    np.testing.assert_array_equal(
        data.fetch(torch.tensor([2])).inputs[0].permute(1, 2, 0).numpy(),
        np.load(split / "image/scan-8841.npy"),
    )


def test_description(tmp_path: Path) -> None:
    arrays = write_nyuv2(tmp_path / "train")
    found = describe("nyuv2", tmp_path / "train")
    assert found.instances == 11
    assert found.input_shape == (3, HEIGHT, WIDTH)
    assert list(found.targets) == ["segmentation", "depth", "normal"]
    labels, depth, normal = found.targets.values()
    assert (labels.values, labels.shape) == ("integers", (HEIGHT, WIDTH))
    assert (labels.lowest, labels.highest) == (0, 12)
    assert (depth.values, depth.shape) == ("reals", (1, HEIGHT, WIDTH))
    assert depth.highest == arrays["depth"].max()
    assert depth.lowest == arrays["depth"][arrays["depth"] > 0].min()
    assert normal.shape == (3, HEIGHT, WIDTH)
    assert all(bool(target.present.all()) for target in found.targets.values())
    assert len(found.fingerprint) == 64


@pytest.mark.parametrize("labels", ["label_7", "label"])
def test_cityscapes(tmp_path: Path, labels: str) -> None:
    arrays = write_cityscapes(tmp_path / "train", labels=labels)
    assert set(describe("cityscapes", tmp_path / "train").targets) == {"segmentation", "depth"}
    batch = open_data("cityscapes", tmp_path / "train", CITYSCAPES).fetch(torch.arange(6))
    np.testing.assert_array_equal(batch.targets["segmentation"].numpy(), arrays[labels])
    np.testing.assert_allclose(batch.targets["depth"][:, 0].numpy(), arrays["depth"][..., 0], rtol=1e-6)


def test_further_folders_are_targets_by_their_own_name(tmp_path: Path) -> None:
    split = tmp_path / "train"
    write_cityscapes(split)
    write(split, {"label_19": np.full((6, HEIGHT, WIDTH), 18), "flow": np.ones((6, HEIGHT, WIDTH, 2))})
    assert list(describe("cityscapes", split).targets) == ["segmentation", "depth", "flow", "label_19"]
    fine = (TaskSpec("label_19", "segmentation", 19),)
    assert bool(
        (open_data("cityscapes", split, fine).fetch(torch.tensor([1])).targets["label_19"] == 18).all()
    )


def test_supervision_that_is_not_there(tmp_path: Path) -> None:
    """A missing file, a file of invalid pixels, and one whose only valid pixel is its very first."""
    split = tmp_path / "train"
    write_nyuv2(split, 4)
    (split / "depth/0.npy").unlink()
    np.save(split / "label/1.npy", np.full((HEIGHT, WIDTH), -1, dtype=np.float32))
    np.save(split / "normal/2.npy", np.zeros((HEIGHT, WIDTH, 3), dtype=np.float32))
    lonely = np.zeros((HEIGHT, WIDTH, 1), dtype=np.float32)
    lonely[0, 0] = 3
    np.save(split / "depth/3.npy", lonely)
    data = open_data("nyuv2", split, NYUV2)
    expected = [[True, False, True], [False, True, True], [True, True, False], [True, True, True]]
    assert data.present.tolist() == expected
    described = describe("nyuv2", split).targets
    assert torch.stack([described[task.name].present for task in NYUV2], dim=1).tolist() == expected
    batch = data.fetch(torch.arange(4))
    assert batch.present.tolist() == expected
    assert bool((batch.targets["depth"][0] == 0).all())
    assert bool((data.fetch(torch.tensor([1])).targets["segmentation"] == -1).all())
    assert data.fetch(torch.tensor([2])).targets["normal"].shape == (1, 3, HEIGHT, WIDTH)


def test_a_mask_file_is_believed_and_spares_the_scan(tmp_path: Path) -> None:
    split = tmp_path / "train"
    write_nyuv2(split, 4)
    np.save(split / "depth_mask.npy", np.array([True, False, True, True]))
    (split / "depth/3.npy").unlink()
    assert find_supervision(list_split(split), "depth").tolist() == [True, False, True, False]
    before = describe("nyuv2", split).fingerprint
    np.save(split / "depth_mask.npy", np.array([True, True, True, True]))
    assert describe("nyuv2", split).fingerprint != before
    np.save(split / "depth_mask.npy", np.ones(3, dtype=bool))
    with pytest.raises(Refused, match="4 booleans"):
        open_data("nyuv2", split, NYUV2)


def test_images_of_bytes_become_reals(tmp_path: Path) -> None:
    split = tmp_path / "train"
    write(split, {"image": np.full((2, 4, 4, 3), 255, dtype=np.uint8), "depth": np.ones((2, 4, 4))})
    assert bool((open_data("nyuv2", split, NYUV2[1:2]).fetch(torch.arange(2)).inputs == 1).all())


def test_an_empty_batch_and_no_tasks(tmp_path: Path) -> None:
    write_nyuv2(tmp_path / "train", 2)
    assert open_data("nyuv2", tmp_path / "train", ()).present.shape == (2, 0)


class TestFingerprint:
    def test_moves_with_every_byte_but_not_with_the_place(self, tmp_path: Path) -> None:
        write_nyuv2(tmp_path / "a" / "train")
        write_nyuv2(tmp_path / "b" / "train")
        first = describe("nyuv2", tmp_path / "a" / "train").fingerprint
        assert describe("nyuv2", tmp_path / "b" / "train").fingerprint == first
        path = tmp_path / "b" / "train" / "image" / "7.npy"
        image = np.load(path)
        image[5, 5, 1] += 1e-3
        np.save(path, image)
        assert describe("nyuv2", tmp_path / "b" / "train").fingerprint != first

    def test_beyond_the_limit_samples_names_sizes_and_ends(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        split = tmp_path / "train"
        write(split, {"image": np.zeros((3, 200, 200, 3), np.float32), "depth": np.ones((3, 200, 200))})
        whole = describe("nyuv2", split).fingerprint
        monkeypatch.setattr(survey_module, "WHOLE_BYTES", 1000)
        sampled = describe("nyuv2", split).fingerprint
        assert sampled != whole

        def changed(row: int, column: int) -> str:
            image = np.zeros((200, 200, 3), np.float32)
            image[row, column] = 1
            np.save(split / "image" / "1.npy", image)
            return describe("nyuv2", split).fingerprint

        assert changed(0, 0) != sampled
        assert changed(100, 0) != sampled
        assert changed(199, 199) != sampled
        assert changed(40, 0) == sampled  # what a sample cannot see, as documented
        (split / "depth" / "2.npy").unlink()
        assert describe("nyuv2", split).fingerprint != sampled


def remove_images(split: Path) -> None:
    (split / "image").rename(split / "images")


def orphan(split: Path) -> None:
    (split / "image/2.npy").unlink()


def smaller_image(split: Path) -> None:
    np.save(split / "image/2.npy", np.zeros((HEIGHT, WIDTH - 1, 3), np.float32))


def grey_images(split: Path) -> None:
    for row in range(4):
        np.save(split / f"image/{row}.npy", np.zeros((HEIGHT, WIDTH), np.float32))


def smaller_labels(split: Path) -> None:
    for row in range(4):
        np.save(split / f"label/{row}.npy", np.zeros((HEIGHT // 2, WIDTH // 2), np.float32))


def fourteenth_class(split: Path) -> None:
    np.save(split / "label/1.npy", np.full((HEIGHT, WIDTH), 13))


def half_a_class(split: Path) -> None:
    np.save(split / "label/1.npy", np.full((HEIGHT, WIDTH), 1.5))


def image_not_finite(split: Path) -> None:
    np.save(split / "image/1.npy", np.full((HEIGHT, WIDTH, 3), np.nan))


def depth_not_finite(split: Path) -> None:
    np.save(split / "depth/1.npy", np.full((HEIGHT, WIDTH, 1), np.inf))


def pickled(split: Path) -> None:
    np.save(split / "depth/1.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def cut_short(split: Path) -> None:
    path = split / "normal/1.npy"
    path.write_bytes(path.read_bytes()[:-100])


def text_file(split: Path) -> None:
    (split / "image/1.npy").write_text("not an array")


def archive(split: Path) -> None:
    np.savez(split / "image/1", np.zeros(3))
    (split / "image/1.npz").rename(split / "image/1.npy")


def words(split: Path) -> None:
    np.save(split / "image/1.npy", np.full((HEIGHT, WIDTH, 3), "red"))


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (remove_images, "data_unreadable"),
        (orphan, "data_lengths_disagree"),
        (smaller_image, "data_lengths_disagree"),
        (grey_images, "data_lengths_disagree"),
        (smaller_labels, "data_lengths_disagree"),
        (fourteenth_class, "data_target_invalid"),
        (half_a_class, "data_target_invalid"),
        (image_not_finite, "data_not_finite"),
        (depth_not_finite, "data_not_finite"),
        (pickled, "data_unreadable"),
        (cut_short, "data_unreadable"),
        (text_file, "data_unreadable"),
        (archive, "data_unreadable"),
        (words, "data_unreadable"),
    ],
)
def test_bad_data_is_refused_at_registration_and_when_it_is_used(
    tmp_path: Path, harm: Callable[[Path], None], code: str
) -> None:
    split = tmp_path / "train"
    write_nyuv2(split, 4)
    harm(split)
    with pytest.raises(Refused) as refused:
        describe("nyuv2", split)
    assert refused.value.code == code
    with pytest.raises(Refused) as refused:
        open_data("nyuv2", split, NYUV2).fetch(torch.arange(4))
    assert refused.value.code == code


def test_a_task_without_a_folder_is_refused(tmp_path: Path) -> None:
    write_cityscapes(tmp_path / "train")
    with pytest.raises(Refused, match="it has depth, segmentation") as refused:
        open_data("cityscapes", tmp_path / "train", NYUV2)
    assert refused.value.code == "data_target_missing"


def test_a_file_that_vanishes_is_refused_without_its_name(tmp_path: Path) -> None:
    """File names may be people's."""
    split = tmp_path / "train"
    write_nyuv2(split, 2)
    for folder in ("image", "label", "depth", "normal"):
        (split / folder / "1.npy").rename(split / folder / "jane-doe.npy")
    data = open_data("nyuv2", split, NYUV2)
    (split / "depth" / "jane-doe.npy").unlink()
    with pytest.raises(Refused, match="'depth' at position 1") as refused:
        data.fetch(torch.tensor([1]))
    assert "jane" not in str(refused.value)
