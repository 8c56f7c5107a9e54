"""What batches may take of a machine's memory follows from the machine alone."""

from pathlib import Path

import psutil
import pytest
import torch

from stages.batches import device_memory
from stages.batches.device_memory import SHARE_OF_MACHINE, machine_memory, usable_memory


@pytest.mark.parametrize(("limit", "found"), [("1000000\n", 10**6), ("max\n", None), (None, None)])
def test_a_container_has_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, found: int | None
) -> None:
    file = tmp_path / "memory.max"
    if limit is not None:
        file.write_text(limit)
    monkeypatch.setattr(device_memory, "CONTAINER_LIMIT", file)
    expected = found or psutil.virtual_memory().total
    assert machine_memory() == expected
    assert usable_memory(torch.device("cpu")) == int(SHARE_OF_MACHINE * expected)
