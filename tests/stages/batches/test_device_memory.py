"""What batches may take of a machine's memory follows from the machine alone."""

from pathlib import Path

import psutil
import pytest
import torch

from comat_core.support.memory import machine_memory
from stages.batches.device_memory import SHARE_OF_MACHINE, usable_memory


@pytest.mark.parametrize(("limit", "found"), [("1000000\n", 10**6), ("max\n", None), (None, None)])
def test_batches_may_take_a_share_of_the_machine_or_of_its_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, found: int | None
) -> None:
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit)
    monkeypatch.setattr(machine_memory, "CONTAINER", tmp_path)
    expected = found or psutil.virtual_memory().total
    assert machine_memory.machine_memory() == expected
    assert usable_memory(torch.device("cpu")) == int(SHARE_OF_MACHINE * expected)
