"""Paths that users write."""

from pathlib import Path

import pytest

from comat_core.files.paths import file_exists, folder_exists, path_exists, user_path
from comat_core.support.errors import UserError


def test_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    names = ["file", "link", "loop", "absent", "a\0b", "half \ud800"]
    assert [file_exists(tmp_path / name) for name in names] == [True, False, False, False, False, False]
    assert [folder_exists(tmp_path / name) for name in names] == [False, True, False, False, False, False]
    assert [path_exists(tmp_path / name) for name in names] == [True, True, False, False, False, False]


@pytest.mark.parametrize("question", [file_exists, folder_exists, path_exists])
def test_a_name_that_is_too_long_is_told(tmp_path: Path, question) -> None:
    with pytest.raises(UserError, match=r"the path cannot be used: File name too long .*xxx\.\.\.\)"):
        question(tmp_path / ("x" * 400))


def test_the_home_folder_of_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert user_path("~/a") == Path("/home/me/a")
    with pytest.raises(UserError, match=r"there is no such home folder \(~nobody-of-that-name/a\)"):
        user_path("~nobody-of-that-name/a")
