"""Cross-attention maps as a return value: which pixels attend to which token.

Only the layers, rows and steps asked for are touched. Their output still comes from the processor that was there
(fused attention); the probabilities are computed beside it from the same queries and keys.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from comat_core.support.numerics import at_least_float32, full_precision


@dataclass(frozen=True)
class CaptureRequest:
    """Which maps a denoising loop shall return."""

    steps: Collection[int]
    """Indices of the denoising steps, 0 the noisiest."""
    rows: Sequence[int] | slice | None = None
    """Rows of the batch, all if None; each must have joined by the first of the steps."""
    blocks: tuple[str, ...] = ("mid", "up")
    """Parts of the UNet: any of "down", "mid", "up"."""


@dataclass(frozen=True)
class AttentionMaps(Mapping[str, Tensor]):
    """The maps of one denoising step, by layer name, in the order of the forward pass.

    Each is (rows, h, w, tokens), averaged over heads, in [0, 1], and sums to 1 over tokens.
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


def block_of(layer: str) -> str:
    """Return the part of the UNet a layer's name stands in: "down", "mid" or "up"."""
    return layer.split("_", maxsplit=1)[0]


def cross_attention_layers(unet: nn.Module, blocks: Collection[str]) -> dict[str, Attention]:
    """Return the UNet's cross-attention modules in the given blocks, by name ("up_blocks.1….attn2")."""
    return {
        name: module
        for name, module in unet.named_modules()
        if isinstance(module, Attention) and module.is_cross_attention and block_of(name) in blocks
    }


@contextmanager
def captured_attention(
    layers: Mapping[str, Attention], rows: Sequence[int], latent_shape: tuple[int, int]
) -> Iterator[dict[str, Tensor]]:
    """Within the context, every forward pass of the given layers leaves its maps in the dictionary it yields.

    The layers' processors are put back on exit, whatever happens inside.

    Args:
        layers: by name, from `cross_attention_layers`.
        rows: of the batch the UNet is called with (not counting in an unconditional half that stands before them).
        latent_shape: (h, w) of the UNet's input, to give the maps their two dimensions back.
    """
    maps: dict[str, Tensor] = {}
    found = {name: layer.processor for name, layer in layers.items()}
    try:
        for name, layer in layers.items():
            layer.set_processor(CapturingProcessor(found[name], maps, name, rows, latent_shape))  # pyright: ignore[reportArgumentType]
        yield maps
    finally:
        for name, layer in layers.items():
            layer.set_processor(found[name])


class CapturingProcessor:
    """A diffusers attention processor that lets another do the work and computes the probabilities beside it."""

    def __init__(
        self, inner: Any, maps: dict[str, Tensor], name: str, rows: Sequence[int], latent_shape: tuple[int, int]
    ) -> None:
        self.inner = inner
        self.maps = maps
        self.name = name
        self.rows = list(rows)
        self.latent_shape = latent_shape

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        assert attention_mask is None, "maps of masked cross-attention are not defined here"
        with _outputs_of(attn.to_q) as queries, _outputs_of(attn.to_k) as keys:
            output = self.inner(attn, hidden_states, encoder_hidden_states=encoder_hidden_states, **kwargs)
        probabilities = head_averaged_probabilities(queries[0][self.rows], keys[0][self.rows], attn.heads)
        height, width = map_shape(self.latent_shape, probabilities.shape[1])
        self.maps[self.name] = probabilities.unflatten(1, (height, width))
        return output


def head_averaged_probabilities(queries: Tensor, keys: Tensor, heads: int) -> Tensor:
    """Mean over heads of softmax(Q K^T / sqrt(d)), in float32 at least.

    Args:
        queries: (rows, pixels, heads * d).
        keys: (rows, tokens, heads * d).

    Returns:
        (rows, pixels, tokens).
    """
    with full_precision(queries.device):
        queries = at_least_float32(queries).unflatten(-1, (heads, -1)).transpose(1, 2)
        keys = at_least_float32(keys).unflatten(-1, (heads, -1)).transpose(1, 2)
        scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
        return scores.softmax(dim=-1).mean(dim=1)


def map_shape(latent_shape: tuple[int, int], pixels: int) -> tuple[int, int]:
    """Return (h, w) of a layer that sees `pixels` positions, the latents having been halved some number of times."""
    height, width = latent_shape
    while height * width > pixels:
        height, width = (height + 1) // 2, (width + 1) // 2
    assert height * width == pixels, f"{pixels} positions do not come from latents of {latent_shape}"
    return height, width


@contextmanager
def _outputs_of(module: nn.Module | None) -> Iterator[list[Tensor]]:
    """Collect what a module returns within the context, so that an adapter wrapped around it is counted in."""
    outputs: list[Any] = []
    with ExitStack() as stack:
        assert module is not None, "attention without a projection"
        handle = module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
        stack.callback(handle.remove)
        yield outputs
