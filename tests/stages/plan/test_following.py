"""Stages that follow another shard by shard: what is made before their input is whole, and what of it stays."""

from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from stages.plan.stage import Inputs
from stages.store.artifacts import MANIFEST, Artifact, DamagedArtifactError
from stages.store.store import Store
from tests.fakes import halves, numbers, offset, squares
from tests.fakes.halves import HalvesConfig
from tests.fakes.numbers import NumbersConfig
from tests.fakes.offset import OffsetConfig
from tests.fakes.squares import SquaresConfig
from tests.fakes.tally import tallied

SQUARES, HALVES = SquaresConfig(), HalvesConfig()


def made_from(store: Store, shift: bool = False) -> dict[str, Artifact]:
    """The inputs of squares; with an offset they come out different by the environment's noise."""
    inputs = {"numbers": numbers.STAGE.run(NumbersConfig(seed=1, count=6), {}, store)}
    return {**inputs, "offset": offset.STAGE.run(OffsetConfig(), inputs, store)} if shift else inputs


def reference(store: Store, inputs: Inputs) -> Artifact:
    """The artifact of the squares, which may be unfinished."""
    return store.artifact("squares", squares.STAGE.key_for(SQUARES, inputs))


def made_one_after_the_other(folder: Path) -> Artifact:
    store = Store(str(folder))
    return halves.STAGE.run(HALVES, {"squares": squares.STAGE.run(SQUARES, made_from(store), store)}, store)


def test_shards_made_before_their_input_is_whole_make_the_same_artifact(any_store: Store, tmp_path: Path) -> None:
    inputs = made_from(any_store)
    source = {"squares": reference(any_store, inputs)}
    for index in (1, 0):
        squares.STAGE.run_shard(SQUARES, inputs, any_store, index)
        halves.STAGE.run_shard(HALVES, source, any_store, index)
    assert not source["squares"].folder.has(MANIFEST)
    squares.STAGE.run(SQUARES, inputs, any_store)
    made = halves.STAGE.run(HALVES, source, any_store)
    assert tallied().count("halves-0") == tallied().count("halves-1") == tallied().count("halves-2") == 1
    other = made_one_after_the_other(tmp_path / "other")
    assert (made.key, made.manifest.digest) == (other.key, other.manifest.digest)
    assert made.manifest.inputs == other.manifest.inputs
    assert any_store.look_up("halves", made.key, {"squares": reference(any_store, inputs)}).artifact is not None


def test_a_shard_whose_own_input_is_not_there_is_told(store: Store) -> None:
    inputs = made_from(store)
    squares.STAGE.run_shard(SQUARES, inputs, store, 0)
    source = {"squares": reference(store, inputs)}
    with pytest.raises(DamagedArtifactError, match=r"a file of the artifact is gone .*squares/00001.parquet"):
        halves.STAGE.run_shard(HALVES, source, store, 1)
    source["squares"].folder.write("squares/00000.parquet", b"something else")
    with pytest.raises(DamagedArtifactError, match=r"a file of the artifact is damaged .*squares/00000.parquet"):
        halves.STAGE.run_shard(HALVES, source, store, 0)


def test_nothing_is_finished_before_its_input(store: Store) -> None:
    inputs = made_from(store)
    for index in range(3):
        squares.STAGE.run_shard(SQUARES, inputs, store, index)
        halves.STAGE.run_shard(HALVES, {"squares": reference(store, inputs)}, store, index)
    with pytest.raises(UserError, match="the artifact has no readable manifest"):
        halves.STAGE.finish(HALVES, {"squares": reference(store, inputs)}, store)


def test_only_shards_whose_own_input_came_out_different_are_made_again(store: Store) -> None:
    inputs = made_from(store)
    made = halves.STAGE.run(HALVES, {"squares": squares.STAGE.run(SQUARES, inputs, store)}, store)
    source = reference(store, inputs)
    writer = store.writer("squares", source.key, {"version": 1, "config": {}}, source.manifest.inputs)
    with writer.part("shard-00002"):
        writer.write_bytes("squares/00002.parquet", source.read_bytes("squares/00000.parquet"))
    changed = writer.finish()
    again = halves.STAGE.run(HALVES, {"squares": changed}, store)
    assert again.manifest.inputs["squares"].digest == changed.manifest.digest != source.manifest.digest
    assert again.read_table("halves")["half"].to_pylist() == [0, 0.5, 2, 4.5, 0, 0.5]
    assert made.key == again.key
    assert [tallied().count(f"halves-{index}") for index in range(3)] == [1, 1, 2]


def test_an_input_that_is_read_as_a_whole_makes_all_shards_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = made_from(store, shift=True)
    whole = squares.STAGE.run(SQUARES, {"numbers": inputs["numbers"]}, store)
    source = {"squares": whole, "offset": inputs["offset"]}
    halves.STAGE.run_shard(HALVES, source, store, 0)
    store.discard("offset", inputs["offset"].key)
    monkeypatch.setenv("COMAT_TEST_NOISE", "1")
    source["offset"] = offset.STAGE.run(OffsetConfig(), {"numbers": inputs["numbers"]}, store)
    made = halves.STAGE.run(HALVES, source, store)
    assert tallied().count("halves-0") == 2
    assert made.read_table("halves")["half"].to_pylist() == [6, 6.5, 8, 10.5, 14, 18.5]
