"""The global random generators of every process, as tensors for a checkpoint.

The project's own numbers are derived from seed and step (`comat_core.support.randomness`) and need none of this.
Libraries may draw from the global generators, and a resumed run then draws what an undisturbed one would have drawn.
"""

import math
import random
from collections.abc import Mapping

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

MERSENNE_TWISTER_WORDS = 624


def gather_random_states(accelerator: Accelerator) -> dict[str, Tensor]:
    """Collect the generators' states of all processes: name -> (processes, n). All processes must call this."""
    own = {name: state.unsqueeze(0) for name, state in _read(accelerator.device).items()}
    if accelerator.num_processes == 1:
        return own
    gathered = accelerator.gather({name: state.to(accelerator.device) for name, state in own.items()})
    assert isinstance(gathered, dict)
    return {name: state.cpu() for name, state in gathered.items()}


def restore_random_states(states: Mapping[str, Tensor], accelerator: Accelerator) -> None:
    """Set this process's generators to its row of what `gather_random_states` gave.

    A GPU's generator stays as it is if the states were gathered without one.
    """
    # Cloned: torch reads a generator's state from the start of its storage, which a row is not.
    own = {name: rows[accelerator.process_index].clone() for name, rows in states.items()}
    torch.set_rng_state(own["torch"])
    if accelerator.device.type == "cuda" and "cuda" in own:
        torch.cuda.set_rng_state(own["cuda"], accelerator.device)
    words = own["numpy"].tolist()
    has_normal, normal = own["numpy_normal"].tolist()
    numpy_words = np.asarray(words[:MERSENNE_TWISTER_WORDS], dtype=np.uint32)
    np.random.set_state(("MT19937", numpy_words, words[-1], int(has_normal), normal))
    normal = own["python_normal"].item()
    random.setstate((3, tuple(own["python"].tolist()), None if math.isnan(normal) else normal))


def _read(device: torch.device) -> dict[str, Tensor]:
    """This process's generators: 32-bit words and positions as integers, kept-back normal numbers as floats."""
    _, python_words, python_normal = random.getstate()
    _, numpy_words, position, has_normal, numpy_normal = np.random.get_state()  # type: ignore[misc]
    states = {
        "torch": torch.get_rng_state(),
        "python": torch.tensor(python_words, dtype=torch.int64),
        "python_normal": torch.tensor([math.nan if python_normal is None else python_normal], dtype=torch.float64),
        "numpy": torch.tensor([*np.asarray(numpy_words).tolist(), position], dtype=torch.int64),
        "numpy_normal": torch.tensor([has_normal, numpy_normal], dtype=torch.float64),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states
