"""Models kept in memory from one shard to the next, so that an evaluation of many shards loads them once."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TypeVar

from stages.models.devices import choose_device
from stages.plan.config import ModelReference

Model = TypeVar("Model")

KEPT: Final = 3
"""Models kept at a time: what the hungriest evaluation uses, a parser among them."""

_kept: OrderedDict[Any, Any] = OrderedDict()


def loaded(load: Callable[..., Model], *arguments: Any, **settings: Any) -> Model:
    """Return `load(*arguments, **settings)`, or what the same call gave before in this process.

    The model that was not asked for the longest goes before another one is loaded.

    Args:
        load: a function or class method, which gives equal models for equal, hashable arguments.
    """
    call = (load, arguments, tuple(sorted(settings.items())))
    if call not in _kept:
        while len(_kept) >= KEPT:
            _kept.popitem(last=False)
        _kept[call] = load(*arguments, **settings)
    _kept.move_to_end(call)
    return _kept[call]


def loaded_model(load: Callable[..., Model], model: ModelReference, device: str, **settings: Any) -> Model:
    """What settings name, on the device that they name; see `loaded`."""
    return loaded(load, model.resolve(), revision=model.revision, device=choose_device(device), **settings)


def in_precision(precision: str) -> dict[str, Any]:
    """The setting of `loaded_model` for scorers that may run in half precision; those in full precision are shared."""
    from comat_core.support.precisions import PRECISIONS

    return {} if precision == "fp32" else {"dtype": PRECISIONS[precision]}


def forget(model: object) -> None:
    """Keep a model no longer: whoever loaded it moves it about, and nobody else must meet it there."""
    for call in [call for call, kept in _kept.items() if kept is model]:
        del _kept[call]
