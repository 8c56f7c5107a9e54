"""LoRA adapters on one shared denoiser: adding, switching, and the parameters that train.

One denoiser in memory serves as the reference model (no adapter), the online model and the discriminator.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.utils import recurse_remove_peft_layers
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from torch import nn

from comat_core.backbones.lora.lora_files import AdaptedNetwork
from comat_core.backbones.protocol import Backbone
from comat_core.support.errors import UserError, first_line
from comat_core.support.randomness import make_generator


def add_lora(
    model: Backbone,
    name: str,
    *,
    rank: int,
    seed: int,
    target_modules: Sequence[str] | None = None,
) -> list[nn.Parameter]:
    """Add a trainable LoRA adapter to a model's denoiser; see `add_lora_to`.

    Args:
        target_modules: ends of the names of the adapted linear layers; None for the family's own choice.
    """
    targets = model.adapter_targets if target_modules is None else target_modules
    return add_lora_to(model.denoiser, name, rank=rank, seed=seed, target_modules=targets)


def add_lora_to(
    denoiser: nn.Module, name: str, *, rank: int, seed: int, target_modules: Sequence[str]
) -> list[nn.Parameter]:
    """Add a trainable LoRA adapter that changes nothing yet, and leave active what was active.

    The down projections are drawn from N(0, 1 / rank²), each from a generator of its own; the up projections are 0.
    The scale is 1 (alpha = rank), which is what loaders assume when a file does not name one.

    Args:
        denoiser: a diffusers model.
        name: of the adapter, unique on this denoiser; `active_adapter` switches it on.
        rank: of every adapted layer, at least 1.
        seed: of the run.
        target_modules: ends of the names of the adapted linear layers.

    Returns:
        Its parameters, in float32 whatever the denoiser's precision.

    Raises:
        UserError: the rank is not positive, or no layer has one of the names.
    """
    if rank < 1:
        raise UserError(f"LoRA rank {rank} is not positive", f"adapter {name!r}", "choose a rank of 1 or more")
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(target_modules))
    _check_name_is_free(denoiser, name)
    with _new_adapter(denoiser, name):
        try:
            # peft's own call, since not every class of diffusers knows adapters.
            inject_adapter_in_model(config, denoiser, name)
        except ValueError as error:
            raise UserError(f"cannot add the adapter: {error}", f"adapter {name!r}", "check name and layers") from error
    with torch.no_grad():
        for parameter_name, parameter in _named_lora_parameters(denoiser, name):
            if ".lora_A." in parameter_name:
                generator = make_generator(seed, "lora initialisation", name, parameter_name)
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / rank)
            else:
                parameter.zero_()
    return lora_parameters(denoiser, name)


def save_lora(model: Backbone, folder: str | Path, name: str, metadata: Mapping[str, str] | None = None) -> Path:
    """Write one adapter of the model's denoiser as others read it (`Backbone.lora_files`).

    Args:
        metadata: notes for the file's header (`comat_core.backbones.lora.lora_metadata`).

    Returns:
        The safetensors file.
    """
    network = AdaptedNetwork(model.pipeline, model.denoiser_part, name)
    return model.lora_files.save(network, Path(folder), metadata or {})


def load_lora(model: Backbone, folder: str | Path, name: str) -> list[nn.Parameter]:
    """Add the adapter that a folder holds to the model's denoiser, and leave active what was active.

    Args:
        folder: written by `save_lora`, or by others in the same form.
        name: the adapter's name from now on, unique on this denoiser.

    Returns:
        Its parameters, in float32.

    Raises:
        UserError: there is no adapter in the folder, or it belongs to another model.
    """
    folder = Path(folder)
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        raise UserError(f"{len(files)} safetensors files instead of one", str(folder), "name a folder with one LoRA")
    network = AdaptedNetwork(model.pipeline, model.denoiser_part, name)
    with _new_adapter(model.denoiser, name):
        try:
            weights = model.lora_files.load(network, files[0])
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
            problem = f"cannot load the LoRA: {first_line(error)}"
            raise UserError(problem, str(files[0]), "use one made for this model") from error
    parameters = lora_parameters(model.denoiser, name)
    if not parameters:
        raise UserError(
            f"the file adapts no layer of this {model.denoiser_label}", str(files[0]), "use a LoRA made for this model"
        )
    # On their way in the weights were rounded to the denoiser's precision; the parameters are float32 again by now.
    set_peft_model_state_dict(model.denoiser, dict(weights), adapter_name=name)
    return parameters


def merge_lora(denoiser: nn.Module, name: str) -> None:
    """Add an adapter to the denoiser's own weights and take all adapters off, so that it is a plain one again."""
    for layer in _tuner_layers(denoiser):
        layer.merge(adapter_names=[name])
    recurse_remove_peft_layers(denoiser)
    del denoiser.peft_config


def lora_parameters(denoiser: nn.Module, name: str) -> list[nn.Parameter]:
    """Return the parameters of one adapter, in the order of the denoiser's modules."""
    return [parameter for _, parameter in _named_lora_parameters(denoiser, name)]


@contextmanager
def active_adapter(denoiser: nn.Module, name: str | None) -> Iterator[None]:
    """Within the context the denoiser runs with this adapter alone, or bare (None); afterwards as it was found.

    Which parameters ask for a gradient is left as it is: a graph built under one adapter can be walked backwards
    under another.
    """
    found = _AdapterState.of(denoiser)
    try:
        _AdapterState.all_set_to(denoiser, name).restore()
        yield
    finally:
        found.restore()


def adapters_as_now(denoiser: nn.Module) -> Callable[[], AbstractContextManager[None]]:
    """Return a context that, entered later, runs the denoiser with the adapters that are active now."""
    pinned = _AdapterState.of(denoiser)

    @contextmanager
    def context() -> Iterator[None]:
        found = _AdapterState.of(denoiser)
        try:
            pinned.restore()
            yield
        finally:
            found.restore()

    return context


@dataclass(frozen=True)
class _AdapterState:
    """Which adapters each adapted layer runs with (an empty list: none)."""

    layers: list[tuple[BaseTunerLayer, list[str]]]

    @staticmethod
    def of(denoiser: nn.Module) -> "_AdapterState":
        layers = _tuner_layers(denoiser)
        return _AdapterState([(layer, _adapters_in_use(layer)) for layer in layers])

    @staticmethod
    def all_set_to(denoiser: nn.Module, name: str | None) -> "_AdapterState":
        layers = _tuner_layers(denoiser)
        if name is not None and not any(name in getattr(layer, "lora_A", {}) for layer in layers):
            raise KeyError(f"the denoiser has no adapter {name!r}")
        return _AdapterState([(layer, [] if name is None else [name]) for layer in layers])

    def restore(self) -> None:
        for layer, names in self.layers:
            if names == _adapters_in_use(layer):
                continue
            # peft's switches also turn gradients on and off; a pending backward pass would lose what it has to add.
            flags = [(parameter, parameter.requires_grad) for parameter in _as_module(layer).parameters()]
            layer.enable_adapters(bool(names))
            if names:
                layer.set_adapter(names)
            for parameter, flag in flags:
                parameter.requires_grad_(flag)


@contextmanager
def _new_adapter(denoiser: nn.Module, name: str) -> Iterator[None]:
    """Around the library's own call that adds an adapter: undo what it does to the others, train the new one."""
    found = _AdapterState.of(denoiser)
    flags = [(parameter, parameter.requires_grad) for parameter in denoiser.parameters()]
    yield
    for _, parameter in _named_lora_parameters(denoiser, name):
        parameter.data = parameter.data.float()
    new_layers = set(_tuner_layers(denoiser)) - {layer for layer, _ in found.layers}
    _AdapterState([*found.layers, *((layer, []) for layer in new_layers)]).restore()
    for parameter, flag in flags:
        parameter.requires_grad_(flag)
    for parameter in lora_parameters(denoiser, name):
        parameter.requires_grad_(True)


def _check_name_is_free(denoiser: nn.Module, name: str) -> None:
    if name in getattr(denoiser, "peft_config", {}):
        raise UserError("cannot add the adapter: there is one of that name", f"adapter {name!r}", "choose another name")


def _as_module(layer: BaseTunerLayer) -> nn.Module:
    assert isinstance(layer, nn.Module), "peft's layers are modules, which their base class does not say"
    return layer


def _adapters_in_use(layer: BaseTunerLayer) -> list[str]:
    return [] if layer.disable_adapters else list(layer.active_adapters)


def _tuner_layers(denoiser: nn.Module) -> list[BaseTunerLayer]:
    return [module for module in denoiser.modules() if isinstance(module, BaseTunerLayer)]


def _named_lora_parameters(denoiser: nn.Module, name: str) -> Iterator[tuple[str, nn.Parameter]]:
    for parameter_name, parameter in denoiser.named_parameters():
        if f".lora_A.{name}." in parameter_name or f".lora_B.{name}." in parameter_name:
            yield parameter_name, parameter
