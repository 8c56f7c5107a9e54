"""What training reads: the draws of which prompts a step sees, and how little of everything else is in memory."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from benchmarks.resident_memory import peak_resident_bytes, resident_bytes
from benchmarks.training_artifacts import made_up_inputs
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator
from stages.entities.tables import read_seen_entities
from stages.prompts.tables import read_training_texts
from stages.store.artifacts import Artifact, DamagedArtifactError
from stages.store.latent_shards import Place, StoredLatents, shard_file
from stages.store.local_files import LocalFiles
from stages.store.store import Store
from stages.train.data.dataset import TrainingData, prepared

PROMPTS, PAIRS, SHARD_SIZE = 23, 7, 5
SHAPE = (4, 2, 2)
MEGABYTE = 2**20


@pytest.fixture
def made_up(any_store: Store) -> dict[str, Artifact]:
    return made_up_inputs(any_store, PROMPTS, PAIRS, SHAPE, SHARD_SIZE)


def all_in_memory(inputs: Mapping[str, Artifact], number: int, size: int, seed: int) -> list[dict[str, Any]]:
    """A micro-batch's prompts from tables that are read as a whole, each epoch in a new order: the plain way."""
    texts = {prompt.prompt_id: prompt.text for prompt in read_training_texts(inputs["prompts"], "train")}
    entities = read_seen_entities(inputs["entities"])
    index = inputs["latents"].read_table("index.parquet").to_pylist()
    found = []
    for position in range(number * size, (number + 1) * size):
        epoch, place = divmod(position, len(index))
        order = torch.randperm(len(index), generator=make_generator(seed, "prompt order", epoch)).tolist()
        row = index[order[place]]
        seen = [(one.noun, one.noun_tokens, one.attribute_tokens) for one in entities[row["prompt_id"]]]
        latents = inputs["latents"].read_tensors(row["shard"])["latents"][row["row"]]
        text, trajectory = texts[row["prompt_id"]], row["trajectory_seed"]
        found.append({"text": text, "seed": trajectory, "entities": seen, "latents": latents})
    return found


def test_every_batch_is_the_one_that_tables_in_memory_would_give(made_up: dict[str, Artifact], tmp_path: Path) -> None:
    size = 4
    with prepared(made_up, tmp_path / "data"):
        data = TrainingData(made_up, tmp_path / "data", seed=3)
        assert data.first_texts(2) == [one.text for one in read_training_texts(made_up["prompts"], "train")[:2]]
        for number in range(2 * PROMPTS // size + 1):  # into the third epoch
            batch = data.batch(number, size, 2)
            expected = all_in_memory(made_up, number, size, seed=3)
            assert batch.prompts == [one["text"] for one in expected]
            assert list(batch.trajectory_seeds) == [one["seed"] for one in expected]
            seen = [
                [(one.noun, list(one.noun_tokens), list(one.attribute_tokens)) for one in row] for row in batch.entities
            ]
            assert seen == [one["entities"] for one in expected]
            torch.testing.assert_close(batch.reference_latents, torch.stack([one["latents"] for one in expected]))
        epoch = [pair for number in range(PAIRS) for pair in data.batch(number, 1, 1).pair_ids]
        assert sorted(epoch) == sorted(f"pair-{row}" for row in range(PAIRS))
        assert data.batch(0, 1, 0).pair_latents is None
    assert not (tmp_path / "data").exists()


def test_what_is_not_asked_for_is_not_read(tmp_path: Path) -> None:
    """A hundred times the prompts of a batch, 64 MB: reading them all would show, and so would one shard in four."""
    rows, shape = 1024, (4, 64, 64)
    inputs = made_up_inputs(Store(str(tmp_path / "store")), rows, 1, shape, shard_size=64)

    def read() -> None:
        with prepared(inputs, tmp_path / "data"):
            data = TrainingData(inputs, tmp_path / "data", seed=0)
            for number in range(32):
                data.batch(number, 4, 1)

    read()  # whatever is loaded or allocated once
    before = resident_bytes()
    assert peak_resident_bytes(read) - before < 16 * MEGABYTE


def test_copies_of_a_remote_store_s_shards_are_shared_and_go(tmp_path: Path) -> None:
    inputs = made_up_inputs(Store("memory://copies"), PROMPTS, PAIRS, SHAPE, SHARD_SIZE)
    folder = tmp_path / "data"
    (folder / "latents").mkdir(parents=True)
    (folder / "latents" / "left by a run that was killed").touch()
    with prepared(inputs, folder):
        assert [path.name for path in folder.iterdir()] == ["tables.sqlite"]
        first, second = (TrainingData(inputs, folder, seed=0) for _ in range(2))
        for number in range(PROMPTS):
            torch.testing.assert_close(
                first.batch(number, 1, 1).reference_latents, second.batch(number, 1, 1).reference_latents
            )
        copied = sorted(path.relative_to(folder).as_posix() for path in (folder / "latents").rglob("*.safetensors"))
        assert copied == [f"latents/{shard_file(index)}" for index in range(-(-PROMPTS // SHARD_SIZE))]
    assert not folder.exists()


def test_a_shard_is_compared_with_its_checksum_before_it_is_used_and_whenever_it_changes(tmp_path: Path) -> None:
    latents = made_up_inputs(Store(str(tmp_path / "store")), PROMPTS, PAIRS, SHAPE, SHARD_SIZE)["latents"]
    stored, place = StoredLatents(LocalFiles(latents, tmp_path / "copies")), Place(shard_file(0), 1)
    before = stored.read([place])
    assert latents.folder.local is not None
    file = latents.folder.local / shard_file(0)
    intact = file.read_bytes()
    file.unlink()
    file.write_bytes(save({"latents": torch.zeros(SHARD_SIZE, *SHAPE)}))
    with pytest.raises(DamagedArtifactError, match=r"a file of the artifact is damaged .*00000.safetensors"):
        stored.read([place])
    file.write_bytes(intact)
    torch.testing.assert_close(stored.read([place]), before)
    file.unlink()
    with pytest.raises(DamagedArtifactError, match="a file of the artifact is gone"):
        stored.read([place])


@pytest.mark.parametrize("place", [Place(shard_file(0), SHARD_SIZE), Place("latents/none.safetensors", 0)])
def test_an_index_that_names_what_is_not_there_is_told(tmp_path: Path, place: Place) -> None:
    latents = made_up_inputs(Store(str(tmp_path / "store")), PROMPTS, PAIRS, SHAPE, SHARD_SIZE)["latents"]
    with pytest.raises(DamagedArtifactError, match=r"cannot be read|no such file"):
        StoredLatents(LocalFiles(latents, tmp_path / "copies")).read([place])


def test_tables_that_do_not_fit_together_are_told(tmp_path: Path) -> None:
    few, many = (made_up_inputs(Store(str(tmp_path / "store")), count, 1, SHAPE, SHARD_SIZE) for count in (3, 9))
    with (
        pytest.raises(DamagedArtifactError, match=r"the index names the prompt '[0-9a-f]{24}', which is none of"),
        prepared({**many, "prompts": few["prompts"]}, tmp_path / "data"),
    ):
        pass
    assert not (tmp_path / "data").exists()


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import stages.train.data.indexed_tables as module

    inputs = made_up_inputs(Store(str(tmp_path / "store")), 500, 1, SHAPE, 500)
    monkeypatch.setattr(module, "_TABLES", f"PRAGMA max_page_count = 12;{module._TABLES}")
    full = pytest.raises(UserError, match=r"cannot write training's tables: database or disk is full")
    with full, prepared(inputs, tmp_path / "data"):
        pass


@pytest.mark.slow
def test_the_benchmark_measures_both_sizes_in_processes_of_their_own(tmp_path: Path) -> None:
    sizes = ("--prompts", "200", "2000", "--batches", "20", "--steps", "0", "--folder", str(tmp_path))
    command = [sys.executable, "-m", "benchmarks.training_data", *sizes]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert '"reading_peak_ratio": 1.0' in output.splitlines()[-1]
    assert not list(tmp_path.iterdir())
