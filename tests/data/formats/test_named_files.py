"""Names in lists, and the files that they mean."""

import unicodedata
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from data.formats.named_files import check_name, named_file, version_of

COMPOSED = "caf\u00e9/a cat.png"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


@pytest.mark.parametrize(("written", "listed"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_names_mean_the_same_file_however_their_accents_are_composed(tmp_path: Path, written: str, listed: str) -> None:
    file = tmp_path / written
    file.parent.mkdir()
    file.write_text("found")
    assert named_file(tmp_path, listed).read_text() == "found"
    assert named_file(tmp_path, written) == file
    (tmp_path / listed).parent.mkdir()
    (tmp_path / listed).write_text("its own")
    assert named_file(tmp_path, listed).read_text() == "its own"


def test_what_is_missing_keeps_its_name(tmp_path: Path) -> None:
    assert named_file(tmp_path, COMPOSED) == tmp_path / COMPOSED
    assert version_of(tmp_path / COMPOSED) is None
    assert version_of(tmp_path / "a\0b") is None


@pytest.mark.parametrize("name", ["", ".", "/etc/passwd", "../up.png", "a/../../up.png", "a\0b", "x/" * 100 + ".."])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"names no file below the images' folder \(list, line 3\)"):
        check_name(name, "list, line 3")


def test_names_below_the_folder_are_taken() -> None:
    for name in ("a.png", "train/a..b.png", "./a.png", "ein Bild.jpg"):
        assert check_name(name, "here") == name
