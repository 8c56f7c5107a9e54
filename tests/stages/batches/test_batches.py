"""Batches: every item once and in order, and as many at once as what the first one took leaves room for."""

import logging

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from torch.utils._python_dispatch import _get_current_dispatch_mode

import stages.batches
from stages.batches import AUTO, LARGEST_CHOSEN, BatchSize, batches, fitting_size, prepared_batches

CPU = torch.device("cpu")
MEGABYTE = 2**20


class Example(BaseModel):
    batch_size: BatchSize = 8


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages.batches, "usable_memory", lambda _device: 100 * MEGABYTE)


@given(st.integers(0, 40), st.one_of(st.just(AUTO), st.integers(1, 50)))
def test_every_item_comes_once_in_its_order(count: int, size: BatchSize) -> None:
    items = list(range(count))
    assert [item for batch in batches(items, size) for item in batch] == items
    doubled = [*prepared_batches(items, size, "Doubling", lambda batch: [2 * item for item in batch])]
    assert [item for batch, _ in doubled for item in batch] == items
    assert [item for _, prepared in doubled for item in prepared] == [2 * item for item in items]
    if size != AUTO:
        assert all(len(batch) == size for batch, _ in doubled[:-1])


@pytest.mark.usefixtures("memory")
def test_as_many_as_fit_by_what_the_first_took(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "comat")
    sizes = []
    for batch in batches(range(20), AUTO, "Images"):
        sizes.append(len(batch))
        torch.zeros(len(batch), 3 * MEGABYTE).sum()  # 12 MB each: eight fit
    assert sizes == [1, 8, 8, 3]
    assert "Images: 8 at once" in caplog.text


@pytest.mark.usefixtures("memory")
def test_what_is_prepared_for_the_second_batch_waits_for_its_size() -> None:
    asked: list[int] = []

    def prepare(batch: object) -> int:
        assert isinstance(batch, range)
        asked.append(len(batch))
        return len(batch)

    for batch, _ in prepared_batches(range(9), AUTO, "Images", prepare):
        assert len(asked) == 1 or len(batch) > 1
        torch.zeros(len(batch), 6 * MEGABYTE).sum()
    assert asked == [1, 4, 4]


def test_a_failure_in_the_first_batch_leaves_nothing_behind() -> None:
    def fails() -> None:
        for _ in batches(range(3), AUTO):
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fails()
    assert _get_current_dispatch_mode() is None


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize(
    ("taken", "size"),
    [({CPU: 200 * MEGABYTE}, 1), ({CPU: 30 * MEGABYTE}, 2), ({CPU: 1}, LARGEST_CHOSEN), ({}, LARGEST_CHOSEN)],
)
def test_size_is_a_power_of_two_within_bounds(taken: dict[torch.device, int], size: int) -> None:
    assert fitting_size(taken) == size


@pytest.mark.parametrize("value", [0, 4097, True, 2.5, "all", None])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="write auto or a number from 1 to 4096") as caught:
        Example.model_validate({"batch_size": value})
    assert [error["loc"] for error in caught.value.errors()] == [("batch_size",)]


def test_the_setting_takes_a_number_or_auto() -> None:
    assert [Example.model_validate({"batch_size": value}).batch_size for value in (7, AUTO)] == [7, AUTO]
