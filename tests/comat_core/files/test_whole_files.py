"""Files and folders that appear only when they are whole, and touch nothing beside them."""

import os
from pathlib import Path

import pytest

from comat_core.files.whole_files import whole_file, whole_folder, write_whole

BESIDE = ("mine.partial", ".mine.png.partial", "mine.png.partial", ".mine.png.unfinished", "mine.tmp", "mine")


def test_a_file_is_written_and_nothing_beside_it_is_touched(tmp_path: Path) -> None:
    for name in BESIDE:
        (tmp_path / name).write_text("precious")
    write_whole(tmp_path / "mine.png", b"new")
    assert (tmp_path / "mine.png").read_bytes() == b"new"
    assert {path.name for path in tmp_path.iterdir()} == {*BESIDE, "mine.png"}
    assert all((tmp_path / name).read_text() == "precious" for name in BESIDE)


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), whole_file(path) as unfinished:
        unfinished.write_text("ne")
        raise OSError("the disk is full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_name_as_long_as_names_can_be_is_written(tmp_path: Path) -> None:
    write_whole(tmp_path / ("a" * 255), b"")
    with whole_folder(tmp_path / ("b" * 255)):
        pass
    assert sorted(len(path.name) for path in tmp_path.iterdir()) == [255, 255]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / ".out.unfinished").mkdir()
    with whole_folder(tmp_path / "out") as unfinished:
        (unfinished / "a").write_text("a")
        assert not (tmp_path / "out").exists()
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "other") as unfinished:
        (unfinished / "a").write_text("a")
        raise RuntimeError
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.unfinished", "out"]
    assert (tmp_path / "out" / "a").read_text() == "a"


def test_a_folder_that_was_filled_meanwhile_stays(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not empty"), whole_folder(tmp_path / "out"):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").write_text("mine")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
