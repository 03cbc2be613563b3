"""The folder: one deployment at a time, keys kept and private, and a sentence when it can't be used."""

import json
import os
import stat
from dataclasses import asdict
from pathlib import Path

import pytest

from app.standalone.data_folder import DataFolder
from app.standalone.folder_lock import FolderLock
from app.standalone.keys import Keys
from app.standalone.refusals import StandaloneError


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path / "lethe")
    folder.make()
    return folder


def test_a_new_folder_is_closed_to_others(folder: DataFolder) -> None:
    assert stat.S_IMODE(folder.root.stat().st_mode) == 0o700


def test_an_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    DataFolder(tmp_path).make()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750


def test_an_unusable_folder_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StandaloneError, match=r"can't be written to \(Not a directory\): choose another"):
        DataFolder(tmp_path / "file" / "lethe").make()


def test_a_second_deployment_is_refused_and_names_the_first(folder: DataFolder) -> None:
    first, second = FolderLock(folder.lock), FolderLock(folder.lock)
    first.acquire()
    with pytest.raises(StandaloneError, match=f"process {os.getpid()}"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_keys_are_made_once_and_private(folder: DataFolder) -> None:
    keys = Keys.kept_in(folder)
    assert len(bytes.fromhex(keys.hash_key)) == 32
    assert stat.S_IMODE(folder.keys.stat().st_mode) == 0o600
    assert Keys.kept_in(folder) == keys


def test_a_folder_from_before_certificates_gets_keys_to_sign_with(folder: DataFolder) -> None:
    made = asdict(Keys.kept_in(folder))
    folder.keys.write_text(
        json.dumps({name: value for name, value in made.items() if not name.endswith("signing_key")})
    )
    again = Keys.kept_in(folder)
    assert Keys.kept_in(folder) == again
    new = {name: value for name, value in asdict(again).items() if name.endswith("signing_key")}
    assert len(new) == 2
    assert asdict(again) == made | new


def test_a_database_without_its_keys_is_refused(folder: DataFolder) -> None:
    """New keys would open the database, but nobody could tell any more who was forgotten."""
    (folder.postgres / "cluster").mkdir(parents=True)
    with pytest.raises(StandaloneError, match="put the file back from a backup"):
        Keys.kept_in(folder)


def test_damaged_keys_are_refused(folder: DataFolder) -> None:
    folder.keys.write_text('{"hash_key": ')
    with pytest.raises(StandaloneError, match="put the file back from a backup"):
        Keys.kept_in(folder)
