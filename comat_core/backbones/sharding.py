"""A frozen base whose weights are spread over the processes of a training, and gathered block by block to be used.

By PyTorch's FSDP2 (`torch.distributed.fsdp.fully_shard`). Only what is frozen is spread: adapters are added afterwards,
are whole in every process, and averaging their gradients is the caller's work. A gathered block is the block as it was
loaded, to the bit, so that no result changes.

Gathering is a call that all processes make together. They have to call a network equally often, and to walk the same
calls backwards, or they wait for each other for ever.
"""

import warnings
from collections.abc import Iterable, Mapping
from copy import copy
from importlib.metadata import version
from typing import Any, Final

import torch
import torch.distributed
from packaging.version import Version
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from comat_core.backbones.adapters import add_lora_to
from comat_core.backbones.protocol import Backbone
from comat_core.backbones.recomputed_blocks import recompute_blocks, recomputed_blocks_of
from comat_core.support.errors import UserError
from comat_core.support.memory.activation_memory import without_data
from comat_core.support.precisions import made_in

OLDEST: Final[Mapping[str, str]] = {"torch": "2.14", "peft": "0.21"}
"""Package -> the oldest version that this was tried with. torch's record of a backward pass, which is read below, is
its own affair; and peft has to know that the layers it adapts are whole when they are called."""


def check_versions(where: str) -> None:
    """Make sure that the installed packages can do it.

    Raises:
        UserError: one is too old.
    """
    for package, oldest in OLDEST.items():
        installed = version(package)
        if Version(installed) < Version(oldest):
            problem = f"sharding the base needs {package} {oldest} or later, and {installed} is installed"
            raise UserError(problem, where, "install it, or leave sharding out")


def shard_base(model: Backbone, device: torch.device, *, text_encoders: bool) -> None:
    """Spread a model's frozen weights over all processes; each keeps its share on its device, and the autoencoder.

    Every process calls this alike, after it has joined the others and before there is an adapter.

    Args:
        model: loaded on the CPU: the device sees one whole block at a time.
        device: of this process.
        text_encoders: those too. Otherwise they stay on the CPU and visit the device while they encode.
    """
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    model.vae.to(device)
    _shard(model.denoiser, mesh)
    if not text_encoders:
        model.offload_text_encoders()
        return
    for encoder in model.text_encoders.values():
        _shard(encoder, mesh)


def is_sharded(network: nn.Module) -> bool:
    """Whether this process has a share of the network alone."""
    return any(isinstance(weight, DTensor) for weight in network.parameters())


def share_bytes(weight: Tensor, processes: int) -> int:
    """Bytes of the largest share of a weight, whole or sharded: its first dimension is dealt out."""
    rows = -(-weight.shape[0] // processes)
    return rows * (weight.numel() // max(1, weight.shape[0])) * weight.element_size()


def gathered_bytes(network: nn.Module) -> int:
    """Bytes of whole weights that a process holds at most, beside its share, while a sharded network is used.

    What belongs to no block stays whole for the length of a call. Beside it there are a block in use, and a buffer: of
    the next block on its way, or of what belongs to none. Where adapters learn, two more stay to the end of a backward
    pass: the first block with adapters, whose inputs ask for no gradient, so that it never tells that it is done with;
    and the buffer of the block before it, which comes for nothing.

    Args:
        network: sharded, or still to be.
    """
    blocks = _blocks_of(network)
    sizes = [_frozen_bytes(block.parameters()) for block in blocks]
    learning = [any(weight.requires_grad for weight in block.parameters()) for block in blocks]
    inside = {id(weight) for block in blocks for weight in block.parameters()}
    around = _frozen_bytes(weight for weight in network.parameters() if id(weight) not in inside)
    largest = max(sizes, default=0)
    forward = around + largest + max(around, largest)
    if not any(learning):
        return forward
    before = max((size for size, learns in zip(sizes, learning, strict=True) if not learns), default=0)
    return max(forward, around + sizes[learning.index(True)] + before + 2 * largest)


def without_weights(model: Backbone) -> Backbone:
    """A copy of a model with a sharded denoiser in which that is whole but has shapes alone: its calls can be planned.

    It has the denoiser's adapters, none of them active.
    """
    sharded: Any = model.denoiser
    with without_data(), torch.device(model.device), made_in(model.dtype):
        denoiser = type(sharded).from_config(sharded.config).requires_grad_(False).eval()
    for name, adapter in getattr(sharded, "peft_config", {}).items():
        add_lora_to(denoiser, name, rank=adapter.r, seed=0, target_modules=sorted(adapter.target_modules))
    if recomputed_blocks_of(sharded) is not None:
        recompute_blocks(denoiser)
    planned = copy(model)
    planned.denoiser = denoiser
    return planned


def _shard(network: nn.Module, mesh: DeviceMesh) -> None:
    # Some blocks return views, which FSDP warns of: a change in place would take its hook from them. Nobody makes any.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module", category=UserWarning)
    blocks = _blocks_of(network)
    for part in (*blocks, network):
        kind: Any = type(part)
        fully_shard(part, mesh=mesh, reshard_after_forward=True)
        # FSDP's own class adds methods that nobody calls, and transformers would not know its models again, of whose
        # classes it keeps a list.
        part.__class__ = kind
    for block in blocks:
        block.register_forward_hook(_part_with_what_is_only_repeated)


def _blocks_of(network: nn.Module) -> list[nn.Module]:
    """What is gathered at a time: the smallest parts that the libraries put on one device whole."""
    names = {*(getattr(network, "_no_split_modules", None) or ()), *(getattr(network, "_repeated_blocks", None) or ())}

    named = [module for module in network.modules() if module is not network and type(module).__name__ in names]
    return [block for block in named if not any(inner is not block and inner in named for inner in block.modules())]


def _part_with_what_is_only_repeated(block: nn.Module, _inputs: Any, _output: Any) -> None:
    """After a call in a backward pass, which repeats an earlier one: part with the whole weights unless they are next.

    FSDP keeps them for the walk back through the block. That is right where a block alone is repeated, since its walk
    back has begun. Where a call of the whole denoiser is repeated, all blocks would stay whole until theirs begins.
    Which of them have begun stands in FSDP's own record alone.
    """
    if torch._C._current_graph_task_id() == -1:  # no backward pass
        return
    state: Any = fully_shard.state(block)  # pyright: ignore[reportFunctionMemberAccess]
    for group in state._fsdp_param_groups:
        if group._training_state.name != "PRE_BACKWARD":
            group.reshard()


def _frozen_bytes(weights: Iterable[Tensor]) -> int:
    """Bytes of the whole weights."""
    return sum(weight.numel() * weight.element_size() for weight in weights if not weight.requires_grad)
