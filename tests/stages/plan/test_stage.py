"""Stages: keys, resumption shard by shard, and several runs at once."""

import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from comat_core.support.errors import UserError
from stages.store.artifacts import MANIFEST, Artifact
from stages.store.store import Condition, Store
from tests.fakes import numbers, offset, squares
from tests.fakes.numbers import NumbersConfig
from tests.fakes.offset import OffsetConfig
from tests.fakes.squares import SquaresConfig
from tests.fakes.tally import tallied


def make_numbers(store: Store, count: int = 6) -> Artifact:
    return numbers.STAGE.run(NumbersConfig(seed=1, count=count), {}, store)


def make_squares(store: Store) -> Artifact:
    return squares.STAGE.run(SquaresConfig(), {"numbers": make_numbers(store)}, store)


def test_key_depends_on_config_inputs_and_version_and_on_nothing_else(tmp_path: Path) -> None:
    config = NumbersConfig(seed=1)
    key = numbers.STAGE.key(config, {})
    assert key == numbers.STAGE.key(NumbersConfig(seed=1, speed=7), {})
    assert key != numbers.STAGE.key(NumbersConfig(seed=2), {})
    assert squares.STAGE.key(SquaresConfig(), {"numbers": "a"}) != squares.STAGE.key(SquaresConfig(), {"numbers": "b"})
    a, b = make_numbers(Store(str(tmp_path / "a"))), make_numbers(Store(str(tmp_path / "b")))
    assert a.key == b.key == key


def test_roles_of_inputs_are_part_of_the_key() -> None:
    plain = squares.STAGE.key(SquaresConfig(), {"numbers": "a"})
    assert squares.STAGE.key(SquaresConfig(), {"numbers": "a", "offset": "a"}) != plain
    with pytest.raises(AssertionError, match="lacks its inputs"):
        squares.STAGE.key(SquaresConfig(), {})


def test_second_run_computes_nothing(any_store: Store) -> None:
    first, second = make_squares(any_store), make_squares(any_store)
    assert (first.key, first.url) == (second.key, second.url)
    assert tallied() == ["numbers", "squares-0", "squares-1", "squares-2"]
    assert first.read_table("squares")["square"].to_pylist() == [0, 1, 4, 9, 16, 25]
    assert first.read_json("count.json") == 3


def test_killed_run_goes_on_at_the_first_missing_shard(any_store: Store) -> None:
    inputs = {"numbers": make_numbers(any_store)}
    for index in (0, 1):
        squares.STAGE.run_shard(SquaresConfig(), inputs, any_store, index)
    make_squares(any_store)
    assert tallied().count("squares-0") == tallied().count("squares-1") == 1


@pytest.mark.parametrize("name", ["squares/00001.parquet", "notes/1.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_only_the_damaged_shard_is_built_again(any_store: Store, name: str, damage: str) -> None:
    artifact = make_squares(any_store)
    digest, content = artifact.manifest.digest, artifact.folder.read(name)
    if damage == "remove":
        artifact.folder.remove(name)
    else:
        artifact.folder.write(name, content[:-1] if damage == "truncate" else bytes([content[0] ^ 1]) + content[1:])
    assert make_squares(any_store).manifest.digest == digest
    assert [tallied().count(f"squares-{index}") for index in range(3)] == [1, 2, 1]


def test_deleted_manifest_costs_no_shard(any_store: Store) -> None:
    artifact = make_squares(any_store)
    artifact.folder.remove(MANIFEST)
    again = make_squares(any_store)
    assert again.manifest.digest == artifact.manifest.digest
    assert tallied().count("squares-1") == 1


def test_shards_made_from_other_inputs_are_not_reused(store: Store) -> None:
    """An input that was recomputed with the same key but other contents makes everything from it outdated."""
    made_from = {"numbers": make_numbers(store)}
    shift = offset.STAGE.run(OffsetConfig(), made_from, store)
    inputs = {**made_from, "offset": shift}
    first = squares.STAGE.run(SquaresConfig(), inputs, store)
    store.discard("offset", shift.key)
    writer = store.writer("offset", shift.key, {"version": 1, "config": {}}, shift.manifest.inputs)
    writer.write_json("offset.json", 100)
    inputs["offset"] = writer.finish()
    assert store.look_up("squares", first.key, inputs).condition is Condition.OUTDATED
    second = squares.STAGE.run(SquaresConfig(), inputs, store)
    assert second.key == first.key
    assert second.read_table("squares")["square"].to_pylist() == [100, 101, 104, 109, 116, 125]


def test_failed_stage_leaves_nothing_behind(store: Store) -> None:
    with pytest.raises(UserError, match="13 numbers are too many"):
        make_numbers(store, count=13)
    assert not [name for name in store.root.sizes() if not name.startswith(".")]


def test_two_runs_at_once_build_each_shard_once(any_store: Store) -> None:
    inputs = {"numbers": make_numbers(any_store)}
    made: list[Artifact] = []
    config = SquaresConfig(delay=0.05)
    threads = [
        threading.Thread(target=lambda: made.append(squares.STAGE.run(config, inputs, any_store))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({artifact.manifest.digest for artifact in made}) == 1
    assert tallied() == ["numbers", "squares-0", "squares-1", "squares-2"]
    assert any_store.look_up("squares", made[0].key, check_digests=True).condition is Condition.CACHED


def test_full_disk_is_told_and_leaves_no_half_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = {"numbers": make_numbers(store)}
    written = Path.open

    def fail_on_parquet(self: Path, *arguments, **settings):
        file = written(self, *arguments, **settings)
        if self.parent.name == ".partial":
            write = file.write

            def write_a_little(content: bytes) -> int:
                if content.startswith(b"PAR1"):
                    write(content[:5])
                    raise OSError(28, "No space left on device")
                return write(content)

            monkeypatch.setattr(file, "write", write_a_little, raising=False)
        return file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail_on_parquet)
        with pytest.raises(UserError, match=r"cannot be written: No space left on device.*free space"):
            squares.STAGE.run(SquaresConfig(), inputs, store)
    key = squares.STAGE.key_for(SquaresConfig(), inputs)
    assert not [name for name in store.folder("squares", key).sizes() if name.endswith(".parquet")]
    assert make_squares(store).read_table("squares").num_rows == 6


def test_artifact_of_a_remote_store_is_downloaded_for_libraries_that_need_folders(tmp_path: Path) -> None:
    artifact = make_squares(Store(f"memory://{tmp_path.name}"))
    with artifact.local_path("squares/") as folder:
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["00000.parquet", "00001.parquet", "00002.parquet"]
        assert pq.read_table(folder / names[0]).num_rows == 2
    assert not folder.exists()
