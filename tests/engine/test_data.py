"""The format "arrays": good data is read as written, each kind of bad data has its own refusal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from worker.engine.contract import Refused, TaskSpec
from worker.engine.data import check_disjoint, describe, open_data, split_holdout

SPECS = (TaskSpec("colour", "classification", 3), TaskSpec("size", "regression", 1))
Arrays = dict[str, Any]


def arrays(count: int = 6) -> Arrays:
    return {
        "ids": np.array([f"instance-{number}" for number in range(count)]),
        "inputs": np.arange(count * 4, dtype=np.float32).reshape(count, 4),
        "colour": np.arange(count) % 3,
        "size": np.linspace(0, 1, count, dtype=np.float32),
    }


def written(folder: Path, content: Arrays, packed: bool = False) -> Path:
    if packed:
        np.savez(folder / "data.npz", **content)
        return folder / "data.npz"
    for name, array in content.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=True)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_reads_what_was_written(tmp_path: Path, packed: bool) -> None:
    path = written(tmp_path, arrays(), packed)
    data = open_data("arrays", path, SPECS)
    assert list(data.ids) == [f"instance-{number}" for number in range(6)]
    batch = data.fetch(torch.tensor([4, 1]))
    torch.testing.assert_close(batch.inputs, torch.tensor([[16.0, 17, 18, 19], [4, 5, 6, 7]]))
    assert batch.targets["colour"].tolist() == [1, 1]
    torch.testing.assert_close(batch.targets["size"], torch.tensor([[0.8], [0.2]]))
    assert bool(batch.present.all())


def test_missing_supervision_in_every_spelling(tmp_path: Path) -> None:
    content = arrays()
    content["colour"][0] = -1
    content["size"][1] = np.nan
    content["size_mask"] = np.array([True, True, False, True, True, True])
    data = open_data("arrays", written(tmp_path, content), SPECS)
    assert data.present[:, 0].tolist() == [False, True, True, True, True, True]
    assert data.present[:, 1].tolist() == [True, False, False, True, True, True]
    assert bool(data.fetch(torch.arange(6)).targets["size"].isfinite().all())
    described = describe("arrays", tmp_path)
    for column, spec in enumerate(SPECS):
        assert torch.equal(described.targets[spec.name].present, data.present[:, column])


def test_description(tmp_path: Path) -> None:
    described = describe("arrays", written(tmp_path, arrays()))
    assert described.instances == 6
    assert described.input_shape == (4,)
    assert set(described.targets) == {"colour", "size"}
    colour = described.targets["colour"]
    assert (colour.values, colour.shape, colour.lowest, colour.highest) == ("integers", (), 0.0, 2.0)
    assert described.targets["size"].values == "reals"
    assert len(described.fingerprint) == 64
    changed = arrays()
    changed["inputs"][0, 0] = 1
    assert describe("arrays", written(tmp_path, changed)).fingerprint != described.fingerprint


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        (np.full((2, 3), 255, dtype=np.uint8), torch.float32),
        (np.ones((2, 3), dtype=np.float64), torch.float32),
        (np.ones((2, 3), dtype=np.int32), torch.int64),
        (np.ones((2, 3), dtype=bool), torch.float32),
    ],
)
def test_inputs_become_what_networks_take(tmp_path: Path, stored: Any, wanted: torch.dtype) -> None:
    content = {"ids": np.arange(2), "inputs": stored}
    inputs = open_data("arrays", written(tmp_path, content), ()).fetch(torch.arange(2)).inputs
    assert inputs.dtype == wanted
    assert bool((inputs == 1).all())


def change(**arrays_: Any) -> Callable[[Arrays], Arrays]:
    return lambda content: {**content, **arrays_}


def drop(name: str) -> Callable[[Arrays], Arrays]:
    return lambda content: {key: value for key, value in content.items() if key != name}


INFINITE = np.array([0, 1, np.inf, 0, 0, 0], dtype=np.float32)


@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        (drop("ids"), "data_unreadable", "ids"),
        (drop("inputs"), "data_unreadable", "inputs"),
        (change(ids=np.array([object()] * 6)), "data_unreadable", "pickle"),
        (change(ids=np.array(["a", "b", "", "d", "e", "f"])), "data_unreadable", "position 2"),
        (change(ids=np.array([b"\xff", b"b", b"c", b"d", b"e", b"f"])), "data_unreadable", "UTF-8"),
        (change(ids=np.array(["a", "b", "a", "d", "b", "f"])), "data_ids_repeat", "2 ids repeat"),
        (change(inputs=np.zeros((5, 4))), "data_lengths_disagree", "inputs (5, 4)"),
        (change(size=np.zeros(7)), "data_lengths_disagree", "size (7,)"),
        (drop("size"), "data_target_missing", "colour"),
        (change(colour=np.array([0, 1, 2, 3, 0, 0])), "data_target_invalid", "position 3"),
        (change(colour=np.array([0, 1, 2, -2, 0, 0])), "data_target_invalid", "position 3"),
        (change(colour=np.zeros(6)), "data_target_invalid", "integers"),
        (change(size=np.zeros((6, 2))), "data_target_invalid", "(N, 1)"),
        (change(size_mask=np.zeros(6)), "data_target_invalid", "booleans"),
        (change(size=INFINITE), "data_not_finite", "position 2"),
    ],
)
def test_bad_data_is_refused(tmp_path: Path, spoil: Callable[[Arrays], Arrays], code: str, says: str) -> None:
    path = written(tmp_path, spoil(arrays()))
    with pytest.raises(Refused) as refused:
        open_data("arrays", path, SPECS)
    assert refused.value.code == code
    assert says in str(refused.value)


def test_ids_are_not_repeated_in_the_refusal(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        describe("arrays", written(tmp_path, {**arrays(), "ids": np.array(["anna"] * 6)}))
    assert "anna" not in str(refused.value)


def test_inputs_that_are_not_finite_are_refused_at_registration(tmp_path: Path) -> None:
    content = arrays()
    content["inputs"][3, 1] = np.nan
    with pytest.raises(Refused, match="position 3") as refused:
        describe("arrays", written(tmp_path, content))
    assert refused.value.code == "data_not_finite"


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 torn"])
def test_files_that_are_no_archive_are_unreadable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(Refused) as refused:
        describe("arrays", tmp_path / "data.npz")
    assert refused.value.code == "data_unreadable"


def test_torn_arrays_and_absent_folders_are_unreadable(tmp_path: Path) -> None:
    path = written(tmp_path, arrays())
    whole = (path / "inputs.npy").read_bytes()
    (path / "inputs.npy").write_bytes(whole[:-8])
    for broken in (path, tmp_path / "nowhere"):
        with pytest.raises(Refused) as refused:
            describe("arrays", broken)
        assert refused.value.code == "data_unreadable"


def test_unknown_formats_and_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        describe("punchcards", tmp_path)
    assert refused.value.code == "data_format_unknown"
    with pytest.raises(Refused) as refused:
        open_data("arrays", written(tmp_path, arrays()), (TaskSpec("colour", "divination", 3),))
    assert refused.value.code == "task_kind_unknown"


def test_holdout_splits_in_disjoint_halves_with_supervision_on_both_sides(tmp_path: Path) -> None:
    content = arrays(140)
    content["size"][:80] = np.nan
    data = open_data("arrays", written(tmp_path, content), SPECS)
    calibration, audit = split_holdout(data, SPECS, seed=3)
    assert not set(calibration.ids) & set(audit.ids)
    assert set(calibration.ids) | set(audit.ids) == set(data.ids)
    assert calibration.present.sum(dim=0).tolist() == [70, 30] == audit.present.sum(dim=0).tolist()
    again, _ = split_holdout(data, SPECS, seed=3)
    other, _ = split_holdout(data, SPECS, seed=4)
    assert list(again.ids) == list(calibration.ids) != list(other.ids)
    row = torch.tensor([5])
    assert calibration.ids[5] == data.ids[int(data.fetch(torch.arange(140)).inputs[:, 0].tolist().index(
        float(calibration.fetch(row).inputs[0, 0])))]  # fmt: skip


def test_small_holdouts_are_refused_and_told_how_many_are_needed(tmp_path: Path) -> None:
    data = open_data("arrays", written(tmp_path, arrays(30)), SPECS)
    with pytest.raises(Refused, match="at least 50") as refused:
        split_holdout(data, SPECS, seed=0)
    assert refused.value.code == "holdout_too_small"


def test_holdout_that_was_trained_on_is_refused() -> None:
    check_disjoint(["a", "b"], ["c"])
    with pytest.raises(Refused, match="1 ids") as refused:
        check_disjoint(["a", "b"], ["b", "c"])
    assert refused.value.code == "holdout_overlaps_training"
