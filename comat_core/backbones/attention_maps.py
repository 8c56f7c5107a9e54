"""Attention maps as a return value: which pixels attend to which token.

Only the layers, rows and steps asked for are touched. Their output still comes from the processor that was there
(fused attention); the probabilities are computed beside it from the same queries and keys.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

from torch import Tensor, nn

from comat_core.backbones.attention.attention_probabilities import head_averaged_probabilities, text_probabilities


@dataclass(frozen=True)
class CaptureRequest:
    """Which maps a denoising loop shall return."""

    steps: Collection[int]
    """Indices of the denoising steps, 0 the noisiest."""
    rows: Sequence[int] | slice | None = None
    """Rows of the batch, all if None; each must have joined by the first of the steps."""
    layers: tuple[str, ...] | None = None
    """Patterns of layer names (`Backbone.attention_layers`); None for the backbone's own choice."""


@dataclass(frozen=True)
class AttentionMaps(Mapping[str, Tensor]):
    """The maps of one denoising step, by layer name, in the order of the forward pass.

    Each is (rows, h, w, tokens), averaged over heads, in [0, 1], and sums over tokens to 1 in cross-attention, to at
    most 1 where pixels attend to pixels in the same softmax.
    """

    step: int
    layers: dict[str, Tensor]

    def __getitem__(self, layer: str) -> Tensor:
        return self.layers[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def select(self, rows: Sequence[int] | slice) -> "AttentionMaps":
        """Take the given rows of every map."""
        chosen = rows if isinstance(rows, slice) else list(rows)
        return AttentionMaps(self.step, {name: maps[chosen] for name, maps in self.layers.items()})

    def by_resolution(self) -> dict[tuple[int, int], list[Tensor]]:
        """Group the maps by their size (h, w), smallest first."""
        groups: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
        for maps in self.layers.values():
            groups[(maps.shape[1], maps.shape[2])].append(maps)
        return dict(sorted(groups.items()))


@dataclass(frozen=True)
class QueriesAndKeys:
    """What an attention layer multiplied in one call."""

    queries: Tensor
    """(rows, heads, pixels, d), of the image's positions."""
    keys: Tensor
    """(rows, heads, keys, d), of everything that they attend to, in one softmax."""
    text: slice | None = None
    """Which of the keys are the prompt's tokens; None for all."""
    bias: Tensor | None = None
    """Added to the scores: (rows or 1, heads or 1, pixels or 1, keys)."""


@dataclass(frozen=True)
class AttentionCall:
    """One call of an attention layer's processor."""

    arguments: Mapping[str, Any]
    """By the processor's own names."""
    latent_shape: tuple[int, int]
    """(h, w) of the denoiser's input, which says how many of a joint sequence's positions are the image's."""


class AttentionProbe(ABC):
    """How one family's attention layers are found, and what they multiplied is read."""

    @abstractmethod
    def layers(self, denoiser: nn.Module) -> dict[str, nn.Module]:
        """All layers in which the image's positions attend to the prompt, by name."""

    @abstractmethod
    def listening(self, layer: Any) -> AbstractContextManager[Callable[[AttentionCall], QueriesAndKeys]]:
        """A context around one call of a layer's processor.

        It yields what, after the call and told of it, gives queries and keys of the batch's rows.
        """


@contextmanager
def captured_attention(
    probe: AttentionProbe, layers: Mapping[str, Any], rows: Sequence[int], latent_shape: tuple[int, int]
) -> Iterator[dict[str, Tensor]]:
    """Within the context, every forward pass of the given layers leaves its maps in the dictionary it yields.

    The layers' processors are put back on exit, whatever happens inside.

    Args:
        layers: by name, from `Backbone.attention_layers`.
        rows: of the batch the denoiser is called with (not counting in an unconditional half that stands before them).
        latent_shape: (h, w) of the denoiser's input, to give the maps their two dimensions back.
    """
    maps: dict[str, Tensor] = {}
    found = {name: layer.processor for name, layer in layers.items()}
    try:
        for name, layer in layers.items():
            layer.set_processor(CapturingProcessor(probe, found[name], maps, name, rows, latent_shape))
        yield maps
    finally:
        for name, layer in layers.items():
            layer.set_processor(found[name])


class CapturingProcessor:
    """A diffusers attention processor that lets another do the work and computes the probabilities beside it."""

    def __init__(
        self,
        probe: AttentionProbe,
        inner: Any,
        maps: dict[str, Tensor],
        name: str,
        rows: Sequence[int],
        latent_shape: tuple[int, int],
    ) -> None:
        self.probe = probe
        self.inner = inner
        self.maps = maps
        self.name = name
        self.rows = list(rows)
        self.latent_shape = latent_shape

    def __call__(self, *inputs: Any, **named_inputs: Any) -> Any:
        """Take whatever the layer hands to its processor, the layer first."""
        layer = inputs[0]
        with self.probe.listening(layer) as heard:
            output = self.inner(*inputs, **named_inputs)
        arguments = signature(self.inner.__call__).bind(*inputs, **named_inputs).arguments
        read = heard(AttentionCall(arguments, self.latent_shape))
        self.maps[self.name] = attention_to_text(read, self.rows, self.latent_shape)
        return output


def attention_to_text(read: QueriesAndKeys, rows: Sequence[int], latent_shape: tuple[int, int]) -> Tensor:
    """Mean over heads of softmax(Q K^T / sqrt(d)), in float32 at least, of the chosen rows: (rows, h, w, tokens)."""
    chosen = list(rows)
    bias = read.bias if read.bias is None or len(read.bias) == 1 else read.bias[chosen]
    if read.text is None:
        probabilities = head_averaged_probabilities(read.queries[chosen], read.keys[chosen], bias)
    else:
        probabilities = text_probabilities(read.queries[chosen], read.keys[chosen], read.text, bias)
    return probabilities.unflatten(1, map_shape(latent_shape, probabilities.shape[1]))


def map_shape(latent_shape: tuple[int, int], pixels: int) -> tuple[int, int]:
    """Return (h, w) of a layer that sees `pixels` positions, the latents having been halved some number of times."""
    height, width = latent_shape
    while height * width > pixels:
        height, width = (height + 1) // 2, (width + 1) // 2
    assert height * width == pixels, f"{pixels} positions do not come from latents of {latent_shape}"
    return height, width


def in_heads(projected: Tensor, heads: int) -> Tensor:
    """Cut projections (rows, n, heads * d) into heads: (rows, heads, n, d)."""
    return projected.unflatten(-1, (heads, -1)).transpose(1, 2)


@contextmanager
def outputs_of(*modules: nn.Module | None) -> Iterator[list[list[Tensor]]]:
    """Collect what modules return within the context, so that an adapter wrapped around one is counted in.

    Yields:
        One list of outputs per module; empty for those that are None.
    """
    outputs: list[list[Any]] = [[] for _ in modules]
    with ExitStack() as stack:
        for module, heard in zip(modules, outputs, strict=True):
            if module is not None:
                handle = module.register_forward_hook(
                    lambda _module, _inputs, output, heard=heard: heard.append(output)
                )
                stack.callback(handle.remove)
        yield outputs
