import threading

import pytest

from stages.batches.prefetching import prefetched


def test_the_next_batch_is_prepared_while_this_one_is_used():
    prepared = {number: threading.Event() for number in range(3)}

    def prepare(number):
        prepared[number].set()
        return number * 10

    seen = []
    for number, value in prefetched(range(3), prepare):
        if number < 2:
            assert prepared[number + 1].wait(timeout=30)  # without asking for it
        if number == 0:
            assert not prepared[2].is_set()  # one ahead, no more
        seen.append(value)
    assert seen == [0, 10, 20]
    assert list(prefetched([], prepare)) == []


def test_what_preparing_raises_reaches_the_caller():
    def fail(number):
        if number == 1:
            raise ValueError("damaged")
        return number

    batches = prefetched([0, 1, 2], fail)
    assert next(batches) == (0, 0)
    with pytest.raises(ValueError, match="damaged"):
        next(batches)
