"""SIGTERM leaves a note with a training, which can save its state, and otherwise acts as it always does."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from stages.train.processes.termination import termination_noticed


@pytest.fixture
def acted() -> Iterator[list[int]]:
    """What SIGTERM does outside all blocks: here, it is counted."""
    numbers: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, previous)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_the_main_thread_finds_a_note_and_afterwards_it_acts_as_before(acted: list[int]) -> None:
    with termination_noticed() as noticed:
        terminate()
        assert (noticed, acted) == ([signal.SIGTERM], [])
    terminate()
    assert (noticed, acted) == ([signal.SIGTERM], [signal.SIGTERM])


def test_another_thread_leaves_the_signal_to_the_main_one(acted: list[int]) -> None:
    found: list[list[int]] = []

    def work() -> None:
        with termination_noticed() as noticed:
            terminate()
            found.append(noticed)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert (found, acted) == ([[]], [signal.SIGTERM])
