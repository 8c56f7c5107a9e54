"""Reading a set once: all that cannot be read is told at once, and nothing is kept."""

import threading

import pytest

from comat_core.support.errors import UserError
from stages.images.image_checks import check_all


def reader(broken: set[int], seen: list[int]):
    lock = threading.Lock()

    def read(item: int) -> bytes:
        with lock:
            seen.append(item)
        if item in broken:
            raise UserError("the image cannot be decoded", f"{item}.png", "mend it")
        return bytes(item)

    return read


def test_every_image_is_read_once() -> None:
    seen: list[int] = []
    check_all(reader(set(), seen), range(50), "Checking")
    assert sorted(seen) == list(range(50))
    check_all(reader(set(), seen), [], "Checking")


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        ({7}, "the image cannot be decoded (7.png): mend it"),
        ({7, 9}, "the image cannot be decoded; 1 more cannot be used: 9.png (7.png): mend it"),
        (
            set(range(10, 20)),
            "the image cannot be decoded; 9 more cannot be used: "
            "11.png; 12.png; 13.png; 14.png; 15.png; … (10.png): mend it",
        ),
    ],
)
def test_the_first_that_cannot_be_read_is_told_with_the_names_of_others(broken: set[int], line: str) -> None:
    with pytest.raises(UserError) as caught:
        check_all(reader(broken, []), range(50), "Checking")
    assert str(caught.value) == line


def test_other_failures_end_the_check_at_once() -> None:
    def fail(item: int) -> None:
        raise ZeroDivisionError(item)

    with pytest.raises(ZeroDivisionError):
        check_all(fail, range(10_000), "Checking")
