"""SIGTERM leaves a note with whoever can save a state, in whichever thread, and otherwise acts as it always does."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from stages.train.processes.termination import termination_noticed, termination_passed_on


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


def test_another_thread_finds_the_note_that_the_main_thread_passes_on(acted: list[int]) -> None:
    ready, signalled, found = threading.Event(), threading.Event(), []

    def work() -> None:
        with termination_noticed() as noticed:
            ready.set()
            signalled.wait(60)
            found.extend(noticed)

    with termination_passed_on():
        thread = threading.Thread(target=work)
        thread.start()
        assert ready.wait(60)
        terminate()
        signalled.set()
        thread.join()
        assert (found, acted) == ([signal.SIGTERM], [])
        terminate()
        assert acted == [signal.SIGTERM], "nobody is left to take a note"
    terminate()
    assert acted == [signal.SIGTERM] * 2


def test_a_note_reaches_every_block(acted: list[int]) -> None:
    with termination_noticed() as outer, termination_noticed() as inner:
        terminate()
    assert (outer, inner, acted) == ([signal.SIGTERM], [signal.SIGTERM], [])
