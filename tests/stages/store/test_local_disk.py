"""Places to write to are tried before the work whose result they shall hold."""

import re
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from stages.store.local_disk import check_folder, check_output_file
from stages.store.new_folder import new_folder


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """A place below a file, where not even root makes a folder."""
    (tmp_path / "file").write_text("mine")
    return tmp_path / "file" / "below"


def test_a_folder_that_can_be_written_leaves_no_trace(tmp_path: Path) -> None:
    check_folder("logs", tmp_path / "a" / "b")
    check_folder("logs", tmp_path)
    assert not (tmp_path / "a" / "b").exists()


def test_one_that_cannot_be_written_is_told(blocked: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write the logs: Not a directory .*below.: choose another"):
        check_folder("logs", blocked, "choose another")
    with pytest.raises(UserError, match="cannot write the logs: File exists"):
        check_folder("logs", tmp_path / "file")


def test_an_output_file_may_replace_another(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("old")
    check_output_file("image", tmp_path / "a.png")
    check_output_file("image", tmp_path / "new" / "b.png")
    assert (tmp_path / "a.png").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", "the output is a folder"),
        ("a" * 256, "cannot write the image: File name too long"),
        ("file/below/a.png", "cannot write the image: Not a directory"),
    ],
)
@pytest.mark.usefixtures("blocked")
def test_an_output_file_that_cannot_be_written_is_told(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=f"{message} .*: choose another --output"):
        check_output_file("image", tmp_path / name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file", "the output exists and is not an empty folder"),
        ("full", "the output exists and is not an empty folder"),
        ("a" * 256, "cannot write the export: File name too long"),
        ("file/below", "cannot write the export: (File exists|Not a directory)"),
        ("here", "the output is a folder in use"),
        ("/proc", "the output exists and is not an empty folder|the output is a folder in use"),
    ],
)
@pytest.mark.usefixtures("blocked")
def test_a_new_folder_that_cannot_be_made_is_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    worked = []
    with pytest.raises(UserError) as raised, new_folder(tmp_path / name, "export"):
        worked.append(name)
    assert re.match(message, str(raised.value))
    assert not worked


def test_a_new_folder_may_take_an_empty_ones_place_and_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    with new_folder(tmp_path / "link", "export") as folder:
        (folder / "a").write_text("a")
    assert (tmp_path / "empty" / "a").read_text() == "a"
    assert (tmp_path / "link").is_symlink()
