import io
import tracemalloc
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from comat_core.backbones.loading import load_backbone
from comat_core.sampling.denoising import denoise
from comat_core.sampling.schedulers import make_scheduler
from comat_core.sampling.trajectories import start_from_noise
from comat_core.support.errors import UserError
from comat_core.support.randomness import derive_seed
from stages import latents
from stages.latents.states import ReferenceStates
from stages.latents.tables import INDEX_SCHEMA, IndexRow, stream_index
from stages.plan.config import ModelReference
from stages.prompts.tables import PROMPTS as PROMPTS_TABLE
from stages.prompts.tables import PROMPTS_SCHEMA
from stages.store.artifacts import Artifact
from stages.store.latent_shards import Place, shard_file
from stages.store.local_files import LocalFiles
from stages.store.store import Store
from stages.store.streamed_tables import write_streamed_table
from tests.stages.fake_run import make_artifact, prompts_table
from tests.tiny_models import save_tiny_sd

PROMPTS = [
    ("p0", "a red circle", "color", "train"),
    ("t0", "a green star", "color", "test"),
    ("p1", "a striped blue square", "texture", "train"),
    ("p2", "a white heart", "color", "train"),
]


def config(folder: Path, **changes: Any) -> latents.LatentsConfig:
    settings = {
        "seed": 5,
        "resolution": 32,
        "base": ModelReference(path=str(folder)),
        "sampling": {"scheduler": "ddpm", "num_inference_steps": 3, "guidance_scale": 4.0},
        "shard_size": 2,
        "device": "cpu",
    }
    return latents.LatentsConfig(**(settings | changes))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def prompts(store: Store) -> Artifact:
    return make_artifact(store, "prompts", tables={"prompts.parquet": prompts_table(PROMPTS)})


def all_latents(artifact: Artifact) -> torch.Tensor:
    rows = artifact.read_table("index.parquet").to_pylist()
    return torch.stack([artifact.read_tensors(row["shard"])["latents"][row["row"]] for row in rows])


def test_training_can_walk_the_same_trajectories_again(store: Store, prompts: Artifact, tiny_sd_folder: Path) -> None:
    artifact = latents.run(config(tiny_sd_folder), {"prompts": prompts}, store)
    rows = artifact.read_table("index.parquet").to_pylist()
    assert [row["prompt_id"] for row in rows] == ["p0", "p1", "p2"]
    assert artifact.files("latents/") == ["latents/00000.safetensors", "latents/00001.safetensors"]
    assert [(row["shard"], row["row"]) for row in rows] == [
        ("latents/00000.safetensors", 0),
        ("latents/00000.safetensors", 1),
        ("latents/00001.safetensors", 0),
    ]
    assert [row["trajectory_seed"] for row in rows] == [derive_seed(5, "initial noise", f"p{i}") for i in range(3)]

    model = load_backbone(tiny_sd_folder)
    noise, generators = start_from_noise(model, [row["trajectory_seed"] for row in rows], 32)
    again = denoise(
        model,
        noise,
        model.encode_prompts(["a red circle", "a striped blue square", "a white heart"], 32),
        model.encode_unconditional(3, 32),
        scheduler=make_scheduler(model.scheduler, "ddpm"),
        num_inference_steps=3,
        guidance_scale=4.0,
        generators=generators,
    ).latents
    stored = all_latents(artifact)
    assert stored.dtype == torch.float32
    torch.testing.assert_close(stored, again, atol=1e-4, rtol=1e-4)


def test_how_prompts_are_batched_changes_neither_key_nor_latents(
    store: Store, prompts: Artifact, tiny_sd_folder: Path, tmp_path: Path
) -> None:
    one, three = config(tiny_sd_folder, batch_size=1, shard_size=3), config(tiny_sd_folder, batch_size=3, shard_size=3)
    assert latents.STAGE.key_for(one, {"prompts": prompts}) == latents.STAGE.key_for(three, {"prompts": prompts})
    elsewhere = Store(str(tmp_path / "elsewhere"))
    torch.testing.assert_close(
        all_latents(latents.run(one, {"prompts": prompts}, store)),
        all_latents(latents.run(three, {"prompts": prompts}, elsewhere)),
        atol=1e-4,
        rtol=1e-4,
    )


def test_the_adapted_unet_takes_the_base_models_place(
    store: Store, prompts: Artifact, tiny_sd_folder: Path, tmp_path: Path
) -> None:
    other = save_tiny_sd(tmp_path / "other", seed=99)
    writer = store.writer("adapt", "adapt-key", {"version": 1, "config": {}}, {})
    writer.add_folder(other / "unet", "denoiser/")
    adapted = writer.finish()
    base = latents.run(config(tiny_sd_folder), {"prompts": prompts}, store)
    mixed = latents.run(config(tiny_sd_folder), {"prompts": prompts, "adapt": adapted}, store)
    assert base.key != mixed.key
    assert (all_latents(base) - all_latents(mixed)).abs().max() > 0.1


def many_prompts(store: Store, count: int, rows_per_group: int = 500) -> Artifact:
    """So many training prompts after a few others, in row groups as the prompts stage writes them."""
    splits = ["test"] * 30 + ["train"] * count
    rows = [
        {"prompt_id": f"{split}{row:022d}", "text": f"{row} circles", "source": "", "skill": "", "split": split}
        for row, split in enumerate(splits)
    ]
    firsts = range(0, len(rows), rows_per_group)
    groups = (pa.Table.from_pylist(rows[first : first + rows_per_group], schema=PROMPTS_SCHEMA) for first in firsts)
    writer = store.writer("prompts", f"{count:024x}", {"version": 1, "config": {}}, {})
    write_streamed_table(writer, PROMPTS_TABLE, PROMPTS_SCHEMA, groups)
    return writer.finish()


def test_what_a_shard_keeps_of_the_prompts_does_not_grow_with_them(
    store: Store, tiny_sd_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is left out: what it draws is as large in every shard."""
    monkeypatch.setattr(latents, "sampling_model", lambda *_: nullcontext())
    drawn: list[str] = []

    def draw(_model: None, _config: Any, texts: list[str], _seeds: list[int], **_: Any) -> Any:
        drawn.extend(texts)
        return SimpleNamespace(latents=torch.zeros(len(texts), 1, 1, 1))

    monkeypatch.setattr(latents, "sample", draw)
    settings, peaks = config(tiny_sd_folder, shard_size=200, batch_size=100), {}
    for count in (2_000, 40_000):
        inputs = {"prompts": many_prompts(store, count)}
        writer = store.writer("latents", f"{count:024x}", {"version": 1, "config": {}}, {})
        shards = latents.STAGE.count_shards(settings, inputs)
        assert shards == count // 200
        latents.STAGE.build_shard(settings, inputs, writer, 1)  # whatever is loaded once
        drawn.clear()
        tracemalloc.start()
        try:
            latents.STAGE.build_shard(settings, inputs, writer, shards - 1)
            latents.STAGE.count_shards(settings, inputs)
            _, peaks[count] = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert drawn == [f"{row} circles" for row in range(count - 170, count + 30)]
    assert peaks[40_000] < 1.3 * peaks[2_000]


def test_the_index_is_one_table_whatever_it_is_made_from(store: Store, tiny_sd_folder: Path) -> None:
    """Byte for byte: artifacts that were made from all rows at once stay what they are."""
    count = 9_000
    prompts = many_prompts(store, count)
    writer = store.writer("latents", "whole", {"version": 1, "config": {}}, {})
    assert latents.STAGE.build_rest is not None
    latents.STAGE.build_rest(config(tiny_sd_folder, shard_size=512), {"prompts": prompts}, writer)
    rows = [
        IndexRow(prompt_id, derive_seed(5, "initial noise", prompt_id), shard_file(row // 512), row % 512)
        for row, prompt_id in enumerate(f"train{row:022d}" for row in range(30, count + 30))
    ]
    expected = io.BytesIO()
    table = pa.Table.from_pylist([vars(row) for row in rows], schema=INDEX_SCHEMA)
    pq.write_table(table, expected, compression="zstd")
    assert writer.read_bytes("index.parquet") == expected.getvalue()


def test_without_training_prompts_it_says_so(store: Store, tiny_sd_folder: Path) -> None:
    empty = make_artifact(store, "prompts", key="none", tables={"prompts.parquet": prompts_table(PROMPTS[1:2])})
    with pytest.raises(UserError, match="there is no training prompt"):
        latents.run(config(tiny_sd_folder), {"prompts": empty}, store)


DDIM = {"scheduler": "ddim", "num_inference_steps": 4, "guidance_scale": 4.0}


def test_states_are_what_the_kept_steps_begin_with(
    store: Store, prompts: Artifact, tiny_sd_folder: Path, tmp_path: Path
) -> None:
    kept = config(tiny_sd_folder, sampling=DDIM, kept_steps=[1, 3], batch_size=1)
    artifact = latents.run(kept, {"prompts": prompts}, store)
    assert artifact.files("states/") == ["states/00000.safetensors", "states/00001.safetensors"]
    places = {row.prompt_id: Place(row.shard, row.row) for row in stream_index(artifact)}
    found = ReferenceStates(LocalFiles(artifact, tmp_path), [3, 1]).of([places["p2"], places["p0"]])
    assert {step: states.shape for step, states in found.items()} == dict.fromkeys((1, 3), (2, 4, 8, 8))
    assert found[3].dtype == torch.float32

    model = load_backbone(tiny_sd_folder)
    for step, states in found.items():
        ends = denoise(
            model,
            states,
            model.encode_prompts(["a white heart", "a red circle"], 32),
            model.encode_unconditional(2, 32),
            scheduler=make_scheduler(model.scheduler, "ddim"),
            num_inference_steps=4,
            guidance_scale=4.0,
            generators=[torch.Generator(), torch.Generator()],
            start_steps=[step, step],
        ).latents
        torch.testing.assert_close(ends, all_latents(artifact)[[2, 0]], atol=1e-4, rtol=1e-4)


def test_latents_are_the_same_with_and_without_states(store: Store, prompts: Artifact, tiny_sd_folder: Path) -> None:
    plain = latents.run(config(tiny_sd_folder, sampling=DDIM), {"prompts": prompts}, store)
    kept = latents.run(config(tiny_sd_folder, sampling=DDIM, kept_steps=[2]), {"prompts": prompts}, store)
    assert plain.key != kept.key
    assert plain.files("states/") == []
    assert torch.equal(all_latents(plain), all_latents(kept))


def test_a_step_that_was_not_kept_is_told(
    store: Store, prompts: Artifact, tiny_sd_folder: Path, tmp_path: Path
) -> None:
    artifact = latents.run(config(tiny_sd_folder, sampling=DDIM, kept_steps=[2]), {"prompts": prompts}, store)
    with pytest.raises(UserError, match=r"hold no states of step 3 .*add 3 to latents.kept_steps"):
        ReferenceStates(LocalFiles(artifact, tmp_path), [2, 3])


def test_a_step_that_the_walk_does_not_have_is_refused(tiny_sd_folder: Path) -> None:
    with pytest.raises(ValueError, match="kept_steps must be below"):
        config(tiny_sd_folder, sampling=DDIM, kept_steps=[4])
