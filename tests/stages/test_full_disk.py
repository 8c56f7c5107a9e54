"""Disks without space: the run ends with one clear line, and nothing half-written is left that looks finished."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from comat_core.support.errors import UserError
from stages.store.artifacts import MANIFEST
from stages.store.store import Condition, Store
from tests.fakes import numbers, squares
from tests.fakes.numbers import NumbersConfig
from tests.fakes.squares import SquaresConfig
from tests.small_disk import fill, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", size=512 * 1024) as folder:
        yield folder


@pytest.mark.parametrize("pages", range(0, 40, 3))
def test_full_disk_is_told_and_the_next_run_goes_on(disk: Path, pages: int) -> None:
    """However far the space reaches: into the lease, a shard, its checksum, the manifest, or to the end."""
    store = Store(str(disk / "store"))
    inputs = {"numbers": numbers.STAGE.run(NumbersConfig(seed=1, count=6), {}, store)}
    key = squares.STAGE.key_for(SquaresConfig(), inputs)
    ballast = fill(disk, leave=pages)
    try:
        squares.STAGE.run(SquaresConfig(), inputs, store)
    except UserError as error:
        assert error.what == "the store cannot be written: No space left on device"
        assert "free space" in error.what_to_do
        assert MANIFEST not in store.folder("squares", key).sizes()
    else:
        assert store.look_up("squares", key, check_digests=True).condition is Condition.CACHED
    ballast.unlink()
    made = squares.STAGE.run(SquaresConfig(), inputs, store)
    assert made.read_table("squares")["square"].to_pylist() == [0, 1, 4, 9, 16, 25]
    assert store.look_up("squares", key, inputs, check_digests=True).condition is Condition.CACHED
    assert not list(disk.glob("store/.leases/*"))


class FullObjectStore(MemoryFileSystem):
    """An object store that takes so many more uploads."""

    protocol = "fullobjects"
    store: dict = {}  # noqa: RUF012  (as the parent has it)
    left = 0

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        if FullObjectStore.left <= 0:
            raise OSError(28, "No space left on device")
        FullObjectStore.left -= 1
        super().pipe_file(path, value, mode=mode, **kwargs)


@pytest.mark.parametrize("uploads", range(0, 24, 2))
def test_object_store_that_refuses_uploads(uploads: int, tmp_path: Path) -> None:
    fsspec.register_implementation("fullobjects", FullObjectStore, clobber=True)
    store = Store(f"fullobjects://{tmp_path.name}")
    FullObjectStore.left = 1000
    inputs = {"numbers": numbers.STAGE.run(NumbersConfig(seed=1, count=6), {}, store)}
    key = squares.STAGE.key_for(SquaresConfig(), inputs)
    FullObjectStore.left = uploads
    try:
        squares.STAGE.run(SquaresConfig(), inputs, store)
    except UserError as error:
        assert error.what == "the store cannot be written: No space left on device"
        assert MANIFEST not in store.folder("squares", key).sizes()
    else:
        assert store.look_up("squares", key, check_digests=True).condition is Condition.CACHED
    FullObjectStore.left = 1000
    made = squares.STAGE.run(SquaresConfig(), inputs, store)
    assert made.read_table("squares")["square"].to_pylist() == [0, 1, 4, 9, 16, 25]
    assert store.look_up("squares", key, inputs, check_digests=True).condition is Condition.CACHED
