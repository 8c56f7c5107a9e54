from collections import OrderedDict

import pytest

from stages.evaluate.scoring import models_in_memory
from stages.evaluate.scoring.models_in_memory import KEPT, loaded


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(models_in_memory, "_kept", OrderedDict())


@pytest.fixture
def calls():
    return []


@pytest.fixture
def load(calls):
    def load_model(name, **settings):
        calls.append((name, settings))
        return object()

    return load_model


def test_the_same_call_loads_once(load, calls):
    first = loaded(load, "a", device="cpu", revision=None)
    assert loaded(load, "a", revision=None, device="cpu") is first
    assert loaded(load, "a", revision="1", device="cpu") is not first
    assert len(calls) == 2


def test_the_model_not_asked_for_the_longest_goes_first(load, calls):
    names = [str(number) for number in range(KEPT)]
    for name in (*names, names[0], "new", names[0]):
        loaded(load, name)
    assert len(calls) == KEPT + 1
    loaded(load, names[1])
    assert len(calls) == KEPT + 2


def test_a_failure_is_not_remembered(calls):
    def fail(name):
        calls.append(name)
        raise ValueError(name)

    for _ in range(2):
        with pytest.raises(ValueError, match="a"):
            loaded(fail, "a")
    assert len(calls) == 2
