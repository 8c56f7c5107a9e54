"""Models whose weights are no numbers: every stage that draws with them ends with an error and keeps nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comat_core.support.errors import UserError
from stages import adapt, images, latents, pairs
from stages.images import other_images
from stages.plan.stage import ShardedStage, Stage
from stages.sampling import sampling_model
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.tuned.comparison import Comparer, draw_rows
from stages.tuned.tuned_model import TunedModel
from tests.changed_checkpoints import UNET, VAE, copy_of, without_numbers
from tests.stages.fake_run import make_artifact, prompts_table
from tests.stages.images.test_images import config as images_config
from tests.stages.images.test_images import trained
from tests.stages.images.test_other_images import config as other_config
from tests.stages.test_adapt import config as adapt_config
from tests.stages.test_latents import config as latents_config
from tests.tiny_models import save_tiny_deep_sd
from tests.tiny_pipelines import save_tiny_pixart

PROMPTS = [("p0", "a red circle", "color", "train"), ("t0", "a green star", "color", "test")]
LATENTS = r"the latents that the model draws are not finite numbers \(.*broken.*\): check the model's weights"
IMAGES = r"the images that the autoencoder makes are not finite numbers \(.*broken.*\): check the model's weights"


@pytest.fixture
def prompts(store: Store) -> Artifact:
    return make_artifact(store, "prompts", tables={"prompts.parquet": prompts_table(PROMPTS)})


def broken(folder: Path, place: Path, file: str = UNET) -> Path:
    copy = copy_of(folder, place / "broken")
    without_numbers(copy / file)
    return copy


def is_refused(
    stage: Stage | ShardedStage, config: Any, inputs: dict[str, Artifact], store: Store, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        stage.run(config, inputs, store)
    assert "\n" not in str(caught.value)
    assert store.look_up(stage.name, stage.key_for(config, inputs), inputs).artifact is None


@pytest.mark.parametrize(("file", "message"), [(UNET, LATENTS), (VAE, IMAGES)])
@pytest.mark.parametrize(
    ("stage", "make_config"), [(images.STAGE, images_config), (adapt.STAGE, adapt_config)], ids=["images", "adapt"]
)
def test_images_are_not_drawn_from_broken_weights(
    store: Store,
    prompts: Artifact,
    tiny_sd_folder: Path,
    tmp_path: Path,
    stage: Stage | ShardedStage,
    make_config: Callable[..., Any],
    file: str,
    message: str,
) -> None:
    changes = {"samples": {"test": 1}} if stage is images.STAGE else {}
    config = make_config(broken(tiny_sd_folder, tmp_path, file), **changes)
    is_refused(stage, config, {"prompts": prompts}, store, message)


def test_latents_are_not_drawn_from_broken_weights(
    store: Store, prompts: Artifact, tiny_sd_folder: Path, tmp_path: Path
) -> None:
    is_refused(latents.STAGE, latents_config(broken(tiny_sd_folder, tmp_path)), {"prompts": prompts}, store, LATENTS)


def test_a_lora_that_is_no_numbers_draws_nothing(
    store: Store, prompts: Artifact, tiny_sd_folder: Path, tmp_path: Path
) -> None:
    lora = trained(store, tiny_sd_folder, tmp_path / "lora", scale=float("nan"))
    config = images_config(tiny_sd_folder, samples={"test": 1})
    is_refused(images.STAGE, config, {"prompts": prompts, "train": lora}, store, "the latents that the model draws")


def test_a_warm_up_that_leaves_the_numbers_is_not_kept(
    store: Store, prompts: Artifact, tiny_sd_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comat_core.losses import diffusion_loss

    usual = diffusion_loss.diffusion_loss
    monkeypatch.setattr(diffusion_loss, "diffusion_loss", lambda *values: usual(*values) * float("inf"))
    message = r"the loss of step 1 is no finite number \(adapt\): lower adapt\.learning_rate"
    is_refused(adapt.STAGE, adapt_config(tiny_sd_folder), {"prompts": prompts}, store, message)


def test_pairs_are_not_encoded_by_a_broken_autoencoder(store: Store, tiny_sd_folder: Path, tmp_path: Path) -> None:
    base = broken(tiny_sd_folder, tmp_path, VAE)
    settings = {"seed": 1, "source": "miniature world", "count": 2, "resolution": 64, "base": str(base)}
    config = pairs.PairsConfig.model_validate({**settings, "device": "cpu"})
    is_refused(pairs.STAGE, config, {}, store, "the autoencoder's latents of an image are not finite numbers")


def test_samples_and_comparisons_are_not_drawn_from_broken_weights(
    store: Store, tiny_sd_folder: Path, tmp_path: Path
) -> None:
    lora = trained(store, tiny_sd_folder, tmp_path / "lora", scale=0.1)
    sampling = images_config(broken(tiny_sd_folder, tmp_path))
    tuned = TunedModel("mine", None, sampling, {"train": lora})  # pyright: ignore[reportArgumentType]
    for compare in (False, True):
        with pytest.raises(UserError, match=LATENTS):
            draw_rows(tuned, ["a red circle"], 1, compare=compare)
    with sampling_model(sampling, tuned.artifacts) as model, pytest.raises(UserError, match=LATENTS):
        Comparer(model, sampling, lambda _prompt: []).compare("a red circle", 1)


@pytest.mark.parametrize("method", ["as saved", "attend and excite", "composable", "structure"])
def test_other_generators_do_not_draw_from_broken_weights(store: Store, tmp_path: Path, method: str) -> None:
    """The second prompt has no noun, so that there is nothing to excite."""
    base = broken(save_tiny_deep_sd(tmp_path / "deep"), tmp_path)
    for number, text in enumerate(("a green star", "above and below")):
        table = prompts_table([("t0", text, "color", "test")])
        prompts = make_artifact(store, "prompts", key=f"prompts-{number}", tables={"prompts.parquet": table})
        generator = {"pipeline": str(base), "num_inference_steps": 2, "method": method}
        config = other_config({"one": generator}, resolution=64, samples={"test": 1}).of_others()["one"]
        message = "the images that the pipeline draws are not finite numbers"
        is_refused(other_images.STAGE, config, {"prompts": prompts}, store, message)


def test_generators_of_other_architectures_do_not_draw_from_broken_weights(
    store: Store, prompts: Artifact, tmp_path: Path
) -> None:
    base = broken(save_tiny_pixart(tmp_path / "pixart"), tmp_path, "transformer/diffusion_pytorch_model.safetensors")
    generator = {"pipeline": str(base), "num_inference_steps": 2}
    config = other_config({"one": generator}, samples={"test": 1}).of_others()["one"]
    message = "the images that the pipeline draws are not finite numbers"
    is_refused(other_images.STAGE, config, {"prompts": prompts}, store, message)
