"""Names of the user's choice as file names."""

import pytest

from stages.store.file_names import LONGEST_NAME, fitting_name


@pytest.mark.parametrize("name", ["miniature", "a" * 251, "я" * 125, "a b: c"])
def test_a_name_that_fits_stays_as_it_is(name: str) -> None:
    assert fitting_name(name, ".png") == f"{name}.png"


@pytest.mark.parametrize("name", ["a" * 252, "я" * 126, "画" * 200, "🎨" * 5000])
def test_a_longer_one_is_cut_between_characters_and_keeps_its_ending(name: str) -> None:
    fitting = fitting_name(name, ".png")
    assert LONGEST_NAME - 3 <= len(fitting.encode()) <= LONGEST_NAME
    assert fitting.endswith(".png")
    kept, _, _ = fitting.partition("~")
    assert kept and name.startswith(kept)


def test_names_that_differ_stay_different() -> None:
    assert len({fitting_name("a" * 300 + str(number)) for number in range(50)}) == 50
