"""Fitting a module of the miniature world: what is killed goes on, to the same weights."""

from pathlib import Path

import pytest
import torch
from torch import nn

from comat_core.support.randomness import make_generator
from data.miniature_world.recipes import fitting
from data.miniature_world.recipes.fitting import fit, initialise
from data.miniature_world.recipes.fitting_state import saved_below


class Killed(BaseException):
    """Stands for the end of the process."""


def module() -> nn.Module:
    made = nn.Linear(4, 2)
    initialise(made, 3, "linear")
    return made


def train(made: nn.Module, steps: int = 9, dies_at: int | None = None) -> list[int]:
    """Fit to noise; returns the steps that were computed."""
    computed: list[int] = []

    def loss_of_step(step: int) -> torch.Tensor:
        if step == dies_at:
            raise Killed
        computed.append(step)
        batch = torch.randn(8, 4, generator=make_generator(1, "batch", step))
        return (made(batch).float() - batch[:, :2]).square().mean()

    fit(made, loss_of_step, steps=steps, learning_rate=0.1, name="a test, of it", average_decay=0.9)
    return computed


def test_a_killed_fitting_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "STEPS_BETWEEN_SAVES", 2)
    undisturbed, resumed = module(), module()
    train(undisturbed)
    with saved_below(tmp_path):
        with pytest.raises(Killed):
            train(resumed, dies_at=5)
        again = module()
        assert train(again) == [4, 5, 6, 7, 8]
    for expected, found in zip(undisturbed.parameters(), again.parameters(), strict=True):
        assert torch.equal(expected, found)


def test_a_finished_fitting_is_taken_from_its_state(tmp_path: Path) -> None:
    with saved_below(tmp_path):
        first, second = module(), module()
        train(first)
        assert train(second) == []
    for expected, found in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(expected, found)


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train(module())
    assert not list(tmp_path.rglob("*"))
