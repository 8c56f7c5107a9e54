"""The terms of a training step one by one: what each sees, and what it teaches."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from comat_core.losses.fidelity import discriminator_loss, generator_adversarial_loss
from comat_core.training.step_settings import LossWeights
from comat_core.training.training_step import discriminator_step
from tests.comat_core.training.training_steps import (
    ModelOf,
    assert_close,
    gradients,
    judge_of,
    judge_parameters,
    step_of,
)
from tests.comat_core.training.training_world import (
    HalfSegmenter,
    make_batch,
    make_models,
    make_settings,
)


def test_real_images_serve_concept_activation_alone(tiny_model: ModelOf) -> None:
    models, settings = make_models(tiny_model("sd")), make_settings()
    batch = make_batch(models)
    assert batch.pair_latents is not None
    other = replace(batch, pair_latents=batch.pair_latents + 1)
    losses, changed = step_of(models, batch, settings).losses, step_of(models, other, settings).losses
    assert changed["concept_activation"].item() != pytest.approx(losses["concept_activation"].item(), rel=1e-4)
    for name in ("fidelity", "concentration_positive", "concentration_negative"):
        assert changed[name].item() == pytest.approx(losses[name].item(), rel=1e-4)


def test_without_mixed_latents_real_images_are_the_discriminators_alone(tiny_model: ModelOf) -> None:
    models = make_models(tiny_model("sd"))
    batch, settings = make_batch(models), make_settings(mixed_latents=False, real="real")
    without_pairs = replace(batch, pair_ids=(), pair_captions=(), pair_latents=None)
    output, alone = step_of(models, batch, settings), step_of(models, without_pairs, make_settings())
    for name, loss in alone.losses.items():
        assert output.losses[name].item() == pytest.approx(loss.item(), rel=1e-5), name
    assert batch.pair_latents is not None
    judge = judge_of(models)
    expected = discriminator_loss(judge.score(batch.pair_latents), judge.score(output.latents))
    assert discriminator_step(models, batch, output, settings).loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_recomputation_changes_neither_loss_nor_gradient(tiny_model: ModelOf) -> None:
    """A capture that counts layers would count the recomputed ones as well."""
    results = []
    for recompute in (False, True):
        models = make_models(tiny_model("sd"), discriminator_checkpoint=recompute)
        settings = make_settings(checkpoint_denoiser=recompute, checkpoint_decoder=recompute)
        output = step_of(models, make_batch(models), settings)
        results.append((output.losses, gradients(models, output.total)))
    (losses, plain), (losses_again, recomputed) = results
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(losses_again[name].item(), rel=1e-4), name
    assert_close(plain, recomputed)


def test_the_segmenter_sees_clamped_images_of_the_prompts_that_have_entities(tiny_model: ModelOf) -> None:
    models = make_models(tiny_model("sd"))
    output = step_of(models, make_batch(models), make_settings())
    segmenter = models.segmenter
    assert isinstance(segmenter, HalfSegmenter) and output.images is not None and output.masks is not None
    (seen,) = segmenter.images
    assert not seen.requires_grad
    torch.testing.assert_close(seen, output.images[[0, 1, 3]].clamp(0, 1))
    assert output.images.min() < 0 or output.images.max() > 1
    assert segmenter.nouns == [[["circle"], ["square", "stripe"], ["motorcycles"]]]
    assert [len(mask) for mask in output.masks] == [1, 2, 0, 1]


def test_a_batch_without_entities_gives_zero_concentration_and_asks_no_segmenter(tiny_model: ModelOf) -> None:
    models = make_models(tiny_model("sd"))
    weights = LossWeights(concept_activation=0.0, fidelity=0.0)
    output = step_of(models, make_batch(models, [2]), make_settings(weights))
    output.total.backward()
    assert output.losses["concentration_positive"].item() == output.losses["concentration_negative"].item() == 0
    segmenter = models.segmenter
    assert isinstance(segmenter, HalfSegmenter)
    assert segmenter.images == []


def test_fidelity_terms_are_those_of_the_discriminators_logits(tiny_model: ModelOf) -> None:
    models = make_models(tiny_model("sd"))
    batch, judge = make_batch(models), judge_of(models)
    assert batch.reference_latents is not None and batch.pair_latents is not None
    for saturating in (False, True):
        output = step_of(models, batch, make_settings(saturating=saturating))
        expected = generator_adversarial_loss(judge.score(output.latents), saturating=saturating)
        assert output.losses["fidelity"].item() == pytest.approx(expected.item(), rel=1e-5)
    for real, latents in (("generated", batch.reference_latents), ("real", batch.pair_latents)):
        settings = make_settings(real=real)
        output = step_of(models, batch, settings)
        expected = discriminator_loss(judge.score(latents), judge.score(output.latents))
        assert discriminator_step(models, batch, output, settings).loss.item() == pytest.approx(
            expected.item(), rel=1e-5
        )


class EdgeDiscriminator:
    """Judges images, by one trainable number."""

    def __init__(self) -> None:
        self.weight = nn.Parameter(torch.ones(()))

    @property
    def reads(self) -> str:
        return "images"

    def score(self, samples: Tensor, *, frozen: bool = False) -> Tensor:
        weight = self.weight.detach() if frozen else self.weight
        return weight * samples.diff(dim=-1).abs().mean(dim=(1, 2))

    def named_trainable_parameters(self) -> dict[str, nn.Parameter]:
        return {"weight": self.weight}


def test_a_discriminator_of_images_is_shown_images_of_prompts(tiny_model: ModelOf) -> None:
    models = replace(make_models(tiny_model("sd")), discriminator=EdgeDiscriminator())
    judge = models.discriminator
    assert isinstance(judge, EdgeDiscriminator)
    weights = LossWeights(concept_activation=0.0, fidelity=1.0, attribute_region=0.0, attribute_pixel=0.0)
    batch, settings = make_batch(models), make_settings(weights)
    output = step_of(models, batch, settings)
    assert output.images is not None and batch.reference_latents is not None
    expected = generator_adversarial_loss(judge.score(output.images))
    assert output.losses["fidelity"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert any(gradient.abs().sum() > 0 for gradient in gradients(models, output.total))
    assert judge.weight.grad is None
    real = models.online.decode(batch.reference_latents)
    judged = discriminator_step(models, batch, output, settings)
    assert judged.loss.item() == pytest.approx(
        discriminator_loss(judge.score(real), judge.score(output.images)).item(), rel=1e-5
    )
    judged.loss.backward()
    assert judge.weight.grad is not None


def test_losses_are_float32_and_all_gradients_arrive_under_autocast(tiny_model: ModelOf) -> None:
    models, settings = make_models(tiny_model("sd")), make_settings(checkpoint_denoiser=True)
    batch = make_batch(models)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = step_of(models, batch, settings)
        judged = discriminator_step(models, batch, output, settings)
    assert {loss.dtype for loss in output.losses.values()} == {torch.float32}
    assert all(gradient.abs().sum() > 0 for gradient in gradients(models, output.total))
    judged.loss.backward()
    assert judged.loss.dtype == torch.float32
    assert all(parameter.grad is not None for parameter in judge_parameters(models))


def test_a_step_repeats_exactly_and_steps_differ(tiny_model: ModelOf) -> None:
    models, settings = make_models(tiny_model("sd")), make_settings(num_inference_steps=6)
    batch = make_batch(models, [0, 1])
    outputs = []
    for step in (5, 5, 6):
        torch.rand(step)  # the global generator has no say
        outputs.append(step_of(models, batch, settings, step))
    assert outputs[0].losses["total"].item() == outputs[1].losses["total"].item()
    assert outputs[0].gradient_steps == outputs[1].gradient_steps
    drawn = {step_of(models, make_batch(models, [2]), settings, step).gradient_steps for step in range(8)}
    assert len(drawn) > 1
    assert outputs[2].losses["concept_activation"].item() != outputs[0].losses["concept_activation"].item()


def test_a_gradient_is_lost_nowhere_when_an_adapter_is_still_zero(tiny_model: ModelOf) -> None:
    """The first step of a run: the up projections are zero and must get a gradient."""
    models = make_models(tiny_model("sd"), stirred=False)
    output = step_of(models, make_batch(models), make_settings())
    output.total.backward()
    ups = [p for name, p in models.online.denoiser.named_parameters() if ".lora_B.online." in name]
    assert ups
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in ups)


def test_each_term_alone_teaches_the_online_model(tiny_model: ModelOf) -> None:
    models = make_models(tiny_model("sd"))
    off = LossWeights(concept_activation=0.0, fidelity=0.0, attribute_region=0.0, attribute_pixel=0.0)
    for term in ("concept_activation", "fidelity", "attribute_region", "attribute_pixel"):
        output = step_of(models, make_batch(models), make_settings(off.model_copy(update={term: 1.0})))
        assert any(gradient.abs().sum() > 0 for gradient in gradients(models, output.total)), term
