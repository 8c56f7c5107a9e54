"""What batches may take of a machine's memory follows from the machine alone."""

import torch

from comat_core.support.memory.machine_memory import machine_memory
from stages.batches.device_memory import SHARE_OF_MACHINE, usable_memory


def test_batches_may_take_a_share_of_the_machine() -> None:
    assert usable_memory(torch.device("cpu")) == int(SHARE_OF_MACHINE * machine_memory())
