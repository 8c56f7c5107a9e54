"""What is alive at once: counted by storages, from when a tensor is made until nothing holds it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from comat_core.support.memory.live_bytes import LiveBytes

CPU = torch.device("cpu")
SIDE = 100
MATRIX = 4 * SIDE * SIDE


def chain(weight: Tensor) -> Tensor:
    return ((weight + 1) + 1) + 1  # each result is freed when the next is there


def views(weight: Tensor) -> Tensor:
    return weight.view(-1)[:10].reshape(2, 5).T


def in_place(weight: Tensor) -> Tensor:
    return (weight @ weight).relu_().add_(1)


def held(weight: Tensor) -> list[Tensor]:
    return [weight * factor for factor in range(5)]


@pytest.mark.parametrize(("call", "matrices"), [(chain, 2), (views, 0), (in_place, 1), (held, 5)])
def test_it_counts_what_is_alive_at_once(call: Callable[[Tensor], object], matrices: int) -> None:
    weight = torch.randn(SIDE, SIDE)
    with LiveBytes() as taken:
        call(weight)
    assert taken.peak[CPU] == matrices * MATRIX


def test_weights_are_not_counted_and_activations_of_a_graph_are() -> None:
    network = nn.Sequential(*(nn.Linear(SIDE, SIDE, bias=False) for _ in range(4)))
    images = torch.zeros(SIDE, SIDE)

    def peak() -> int:
        with LiveBytes() as taken:
            network(images).sum()
        return taken.peak[CPU]

    kept = peak()
    with torch.no_grad():
        forgotten = peak()
    assert kept == 4 * MATRIX + 4  # and the sum's 4 bytes
    assert forgotten == 2 * MATRIX


def test_twice_as_many_items_take_twice_as_much() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 3, 3, padding=1))
    peaks = []
    for count in (1, 2):
        with torch.no_grad(), LiveBytes() as taken:
            network(torch.zeros(count, 3, 32, 32))
        peaks.append(taken.peak[CPU])
    assert peaks[1] == pytest.approx(2 * peaks[0], rel=0.05)
