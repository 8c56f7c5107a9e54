"""The attention stage: which prompts it chooses, what it records of them, and that base and tuned are apart."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from comat_core.support.errors import UserError
from stages import attention, images
from stages.attention.recording import SIDE, Recording, captured_steps, heat_map, record, token_activations
from stages.attention.tables import read_recordings, write_recordings
from stages.attention.words import ChosenPrompt, Word, choose_prompts, in_drawn_order, words_of
from stages.entities.tables import EntityWords
from stages.evaluate.scoring.images.generated_images import decode_images
from stages.plan.config import ModelReference
from stages.sampling import Sampler, sampling_model
from stages.store.artifacts import Artifact
from stages.store.store import Store
from tests.random_loras import save_random_lora
from tests.stages.fake_run import flat_png, make_artifact, prompts_table

PROMPTS = [
    ("a", "a red circle and a blue square", "colour", "test"),
    ("b", "something", "colour", "test"),
    ("c", "a green star", "colour", "test"),
    ("t", "a green star", "colour", "train"),
]
Inputs = dict[str, Artifact]


def entity(prompt_id: str, noun: str, at: int, *, attributes: tuple[str, ...] = (), kept: bool = True) -> dict:
    """A row of the entities table: the noun stands at a token, its attributes before it."""
    return {
        "prompt_id": prompt_id,
        "noun": noun,
        "attributes": list(attributes),
        "noun_tokens": [at],
        "attribute_tokens": [at - 1] if attributes else [],
        "kept": kept,
    }


@pytest.fixture
def inputs(store: Store) -> Inputs:
    rows = [
        entity("a", "circle", 3, attributes=("red",)),
        entity("a", "square", 7, attributes=("blue",)),
        entity("b", "something", 1, kept=False),
        entity("c", "star", 3, attributes=("green",)),
        entity("t", "star", 3, attributes=("green",)),
    ]
    return {
        "prompts": make_artifact(store, "prompts", tables={"prompts.parquet": prompts_table(PROMPTS)}),
        "entities": make_artifact(store, "entities", tables={"entities.parquet": pa.Table.from_pylist(rows)}),
    }


def config_of(folder: Path, **changes: object) -> attention.AttentionConfig:
    values = {"seed": 3, "resolution": 32, "base": ModelReference(path=str(folder)), "device": "cpu"}
    sampling = Sampler(num_inference_steps=3, guidance_scale=2.0)
    return attention.AttentionConfig.model_validate({**values, "sampling": sampling, **changes})


def trained(store: Store, base: Path, folder: Path) -> Artifact:
    """A training that has changed the model."""
    return make_artifact(store, "train", folder=save_random_lora(base, folder / "lora"))


def test_words_are_an_entitys_attributes_and_its_noun() -> None:
    found = EntityWords(noun="box", attributes=["big", "red"], noun_tokens=[4], attribute_tokens=[2, 3], kept=True)
    assert words_of(found) == [Word("big red", "attribute", [2, 3]), Word("box", "noun", [4])]
    bare = EntityWords(noun="box", attributes=[], noun_tokens=[4], attribute_tokens=[], kept=True)
    assert words_of(bare) == [Word("box", "noun", [4])]
    for removed in ({"kept": False}, {"noun_tokens": []}):
        assert words_of(EntityWords(**{**vars(bare), **removed})) == []


def test_prompts_of_the_split_that_name_an_object_are_drawn_by_the_seed(inputs: Inputs) -> None:
    chosen = choose_prompts(inputs, "test", 10, 3)
    assert [prompt.prompt_id for prompt in chosen] == [one for one in in_drawn_order(["a", "b", "c"], 3) if one != "b"]
    assert [prompt.prompt_id for prompt in choose_prompts(inputs, "test", 1, 3)] == [chosen[0].prompt_id]
    by_id = {prompt.prompt_id: prompt for prompt in chosen}
    assert [word.text for word in by_id["a"].words] == ["red", "circle", "blue", "square"]
    assert by_id["c"].text == "a green star"
    orders = {tuple(in_drawn_order(["a", "b", "c"], seed)) for seed in range(20)}
    assert len(orders) > 3


def test_heat_map_adds_tokens_and_averages_layers() -> None:
    first, second = torch.zeros(2, 2, 4), torch.zeros(4, 4, 4)
    first[..., 1], first[..., 2], first[..., 3] = 0.2, 0.4, 0.4
    second[..., 1] = 0.5
    heat = heat_map([first, second], [1, 2])
    assert heat.shape == (SIDE, SIDE)
    np.testing.assert_allclose(heat, (0.6 + 0.5) / 2, rtol=1e-5)


def test_activations_are_each_tokens_mean_over_pixels_and_layers_of_any_size() -> None:
    first, second = torch.zeros(1, 2, 2), torch.zeros(2, 4, 2)
    first[0, 0, 0] = first[0, 1, 1] = 1.0
    second[..., 0] = 1.0
    assert token_activations([first, second]) == pytest.approx([0.75, 0.25])


def test_captured_steps_are_spread_over_the_sampling() -> None:
    assert captured_steps(3) == [0, 1, 2]
    assert captured_steps(50) == [0, 5, 10, 15, 20, 25, 30, 35, 40, 45]


def test_recordings_are_read_as_they_were_written(store: Store) -> None:
    heats = [np.full((SIDE, SIDE), value, dtype=np.float32) for value in (0.1, 0.2, 0.3)]
    heats[1][5, 7] = 0.9
    words = [Word("red", "attribute", [2, 3]), Word("circle", "noun", [4]), Word("star", "noun", [1])]
    prompts = [ChosenPrompt("p1", "a red circle", words[:2]), ChosenPrompt("p0", "star", words[2:])]
    recordings = [
        Recording(flat_png((1, 2, 3)), heats[:2], [0.5, 0.25]),
        Recording(flat_png((4, 5, 6)), heats[2:], [1.0, 0.0]),
    ]
    writer = store.writer("attention", "key", {"version": 1, "config": {}}, {})
    write_recordings(writer, 0, prompts[:1], recordings[:1])
    write_recordings(writer, 1, prompts[1:], recordings[1:])
    found = list(read_recordings(writer.finish()))
    assert [(one.prompt_id, one.text, one.words) for one in found] == [
        ("p1", "a red circle", words[:2]),
        ("p0", "star", words[2:]),
    ]
    for one, wanted in zip(found, recordings, strict=True):
        assert (one.recording.png, one.recording.activations) == (wanted.png, wanted.activations)
        np.testing.assert_array_equal(one.recording.maps, wanted.maps)


def test_maps_belong_to_the_images_of_the_run(
    store: Store, inputs: Inputs, tiny_sd_folder: Path, tmp_path: Path
) -> None:
    """The images are the images stage's own first ones, for both models; the tuned one's image and maps differ."""
    train = trained(store, tiny_sd_folder, tmp_path)
    config = config_of(tiny_sd_folder)
    shared = {name: getattr(config, name) for name in ("seed", "resolution", "base", "sampling", "device")}
    images_config = images.ImagesConfig(samples={"test": 1}, **shared)
    found = {}
    for name, own in (("base", {}), ("tuned", {"train": train})):
        drawn = images.run(images_config, {"prompts": inputs["prompts"], **own}, store).read_table("images").to_pylist()
        pngs = {row["prompt_id"]: row["png"] for row in drawn}
        found[name] = list(read_recordings(attention.run(config, {**inputs, **own}, store)))
        assert {one.prompt_id for one in found[name]} == {"a", "c"}
        for one in found[name]:
            # Drawn in a batch of another size, beside which attention is recorded: sums may round differently.
            ours, theirs = decode_images([one.recording.png]), decode_images([pngs[one.prompt_id]])
            torch.testing.assert_close(ours, theirs, atol=1.01 / 255, rtol=0)
            assert sum(one.recording.activations) == pytest.approx(1.0, abs=1e-4)
            assert len(one.recording.maps) == len(one.words)
    for base, tuned in zip(found["base"], found["tuned"], strict=True):
        apart = decode_images([base.recording.png]) - decode_images([tuned.recording.png])
        assert apart.abs().max() > 4 / 255
        assert not np.array_equal(base.recording.maps, tuned.recording.maps)


def test_a_prompts_maps_do_not_depend_on_what_it_is_drawn_with(tiny_sd_folder: Path) -> None:
    config = config_of(tiny_sd_folder)
    words = [[Word("circle", "noun", [3])], [Word("green", "attribute", [2]), Word("star", "noun", [3])]]
    texts, seeds = ["a red circle", "a green star"], [11, 12]
    with sampling_model(config, {}) as model:
        together = record(model, config, texts, seeds, words)
        (alone,) = record(model, config, texts[1:], seeds[1:], words[1:])
    np.testing.assert_allclose(together[1].maps, alone.maps, atol=1e-4)
    assert together[1].activations == pytest.approx(alone.activations, abs=1e-4)
    assert not np.allclose(together[0].maps[0], together[1].maps[1], atol=1e-4)


def test_a_shard_that_is_there_is_not_drawn_again(
    store: Store, inputs: Inputs, tiny_sd_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tiny_sd_folder, prompts_per_shard=1)
    attention.STAGE.run_shard(config, inputs, store, 0)
    drawn = []

    def counted(model: object, sampling: object, texts: list[str], *more: object) -> list[Recording]:
        drawn.extend(texts)
        return record(model, sampling, texts, *more)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr("stages.attention.recording.record", counted)
    artifact = attention.run(config, inputs, store)
    chosen = choose_prompts(inputs, "test", 4, 3)
    assert drawn == [chosen[1].text]
    assert [one.prompt_id for one in read_recordings(artifact)] == [prompt.prompt_id for prompt in chosen]


@pytest.mark.parametrize("named", [True, False])
def test_without_a_prompt_there_are_no_maps_and_no_model_is_loaded(
    store: Store, inputs: Inputs, tmp_path: Path, *, named: bool
) -> None:
    (tmp_path / "model").mkdir()
    if not named:
        rows = [entity("a", "circle", 3, kept=False)]
        tables = {"entities.parquet": pa.Table.from_pylist(rows)}
        inputs["entities"] = make_artifact(store, "entities", key="none", tables=tables)
    artifact = attention.run(config_of(tmp_path / "model", examples=0 if named else 4), inputs, store)
    assert list(read_recordings(artifact)) == []


def test_a_split_without_prompts_is_the_users_mistake(store: Store, inputs: Inputs, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match=r"no prompt is of the split 'tets' \(attention.split\)"):
        attention.run(config_of(tmp_path / "model", split="tets"), inputs, store)
