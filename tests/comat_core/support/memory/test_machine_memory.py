"""A container has its limit, and what its processes hold is not free."""

from pathlib import Path

import psutil
import pytest

from comat_core.support.memory import machine_memory as memory


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(memory, "CONTAINER", tmp_path)
    return tmp_path


@pytest.mark.parametrize("limit", ["max\n", None])
def test_without_a_limit_the_machine_counts(container: Path, limit: str | None) -> None:
    if limit is not None:
        (container / "memory.max").write_text(limit)
    assert memory.machine_memory() == psutil.virtual_memory().total
    free = memory.free_memory()
    assert 0 < free < memory.machine_memory()
    assert abs(free - psutil.virtual_memory().available) < memory.machine_memory() / 4


@pytest.mark.parametrize(("held", "kept_files", "free"), [(600_000, 100_000, 500_000), (1_200_000, 0, 0)])
def test_a_container_has_its_limit(container: Path, held: int, kept_files: int, free: int) -> None:
    (container / "memory.max").write_text("1000000\n")
    (container / "memory.current").write_text(f"{held}\n")
    (container / "memory.stat").write_text(f"anon 5\ninactive_file {kept_files}\nactive_file 7\n")
    assert memory.machine_memory() == 1_000_000
    assert memory.free_memory() == free


def test_a_limit_above_the_machine_is_none(container: Path) -> None:
    (container / "memory.max").write_text(str(2**60))
    assert memory.machine_memory() == psutil.virtual_memory().total
