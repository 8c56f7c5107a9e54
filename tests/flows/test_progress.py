"""Progress of stages in one piece, as Prefect's UI gets to know it."""

import time
from collections.abc import Iterator

import pytest

from flows import progress


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str, str]]:
    """What was sent to Prefect: percent, key, description."""
    sent: list[tuple[float, str, str]] = []
    monkeypatch.setattr(
        progress, "create_progress_artifact", lambda percent, key, description: sent.append((percent, key, description))
    )
    monkeypatch.setattr(progress, "SECONDS_BETWEEN", 0.01)
    return sent


def measure_from(shares: Iterator[float]):
    last = 0.0

    def measure() -> float:
        nonlocal last
        last = next(shares, last)
        return last

    return measure


def wait_for(shown: list, count: int) -> None:
    deadline = time.monotonic() + 10
    while len(shown) < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_every_advance_is_shown_once_and_the_end_too(shown: list) -> None:
    with progress.progress_shown("images.base", measure_from(iter([0.0, 0.25, 0.25, 0.5]))):
        wait_for(shown, 2)
    key = "comat-images-base"
    assert shown == [
        (25.0, key, "images.base: 25%"),
        (50.0, key, "images.base: 50%"),
        (100.0, key, "images.base: done"),
    ]


def test_failure_is_not_shown_as_done(shown: list) -> None:
    with pytest.raises(RuntimeError), progress.progress_shown("train", measure_from(iter([0.5]))):
        wait_for(shown, 1)
        raise RuntimeError
    assert shown == [(50.0, "comat-train", "train: 50%")]
