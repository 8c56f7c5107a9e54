from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from comat_core.adapters import active_adapter, lora_parameters
from comat_core.concept_activation import concept_activation_loss
from comat_core.discriminators import UNetDiscriminator
from comat_core.fidelity import discriminator_loss, generator_adversarial_loss
from comat_core.text_to_image import TextToImageModel
from comat_core.training_inputs import CoMatBatch, CoMatModels, LossWeights, StepSettings
from comat_core.training_step import StepOutput, discriminator_step, training_step
from tests.comat_core.training_world import (
    CAPTIONS,
    CONCEPT_ONLY,
    EVERYTHING,
    PROMPTS,
    SEED,
    BrightnessCaptioner,
    HalfSegmenter,
    make_batch,
    make_models,
    make_settings,
    sample,
)

ModelOf = Callable[[str], TextToImageModel]


def step_of(models: CoMatModels, batch: CoMatBatch, settings: StepSettings, step: int = 0) -> StepOutput:
    with active_adapter(models.online.unet, "online"):
        return training_step(models, batch, settings, seed=SEED, step=step)


def online_parameters(models: CoMatModels) -> list[nn.Parameter]:
    return lora_parameters(models.online.unet, "online")


def judge_of(models: CoMatModels) -> UNetDiscriminator:
    assert isinstance(models.discriminator, UNetDiscriminator)
    return models.discriminator


def judge_parameters(models: CoMatModels) -> list[nn.Parameter]:
    return list(judge_of(models).named_trainable_parameters().values())


def gradients(models: CoMatModels, *losses: Tensor) -> list[Tensor]:
    """Gradients of the online adapter, accumulated over the losses; zeros where none arrived."""
    for parameter in online_parameters(models):
        parameter.grad = None
    for loss in losses:
        loss.backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in online_parameters(models)]


def assert_close(left: list[Tensor], right: list[Tensor]) -> None:
    scale = max(gradient.abs().max().item() for gradient in left)
    for one, other in zip(left, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize(("kind", "judge_kind"), [("sd", None), ("sdxl", "sd")])
def test_every_trainable_parameter_moves_after_one_step_and_no_frozen_one_does(
    tiny_model: ModelOf, kind: str, judge_kind: str | None
) -> None:
    models = make_models(tiny_model(kind), judge=tiny_model(judge_kind) if judge_kind else None)
    batch, settings = make_batch(models), make_settings()
    online, judge = models.online, judge_of(models)
    modules = [online.unet, online.vae, online.pipeline.text_encoder, judge.head]
    modules += [judge.model.unet] if judge.model is not online else []
    everything = [parameter for module in modules for parameter in module.parameters()]
    before = [parameter.detach().clone() for parameter in everything]
    online_optimizer = torch.optim.AdamW(online_parameters(models), lr=1e-3, weight_decay=0.0)
    judge_optimizer = torch.optim.AdamW(judge_parameters(models), lr=1e-3, weight_decay=0.0)

    output = step_of(models, batch, settings)
    output.total.backward()
    assert all(parameter.grad is None for parameter in judge_parameters(models))
    online_optimizer.step()
    online_optimizer.zero_grad()
    discriminator_step(models, batch, output, settings).loss.backward()
    assert all(parameter.grad is None for parameter in online_parameters(models))
    judge_optimizer.step()

    trainable = {id(parameter) for parameter in (*online_parameters(models), *judge_parameters(models))}
    for parameter, old in zip(everything, before, strict=True):
        assert torch.equal(parameter, old) == (id(parameter) not in trainable)


def test_four_accumulated_batches_of_one_equal_one_batch_of_four(tiny_model: ModelOf) -> None:
    models, settings = make_models(tiny_model("sd")), make_settings()
    whole = step_of(models, make_batch(models), settings, step=3)
    parts = [step_of(models, make_batch(models, [row]), settings, step=3) for row in range(4)]
    for name, loss in whole.losses.items():
        mean = torch.stack([part.losses[name] for part in parts]).mean()
        assert loss.item() == pytest.approx(mean.item(), rel=1e-4, abs=1e-6), name
    assert_close(gradients(models, whole.total), gradients(models, *(part.total / 4 for part in parts)))

    judged = discriminator_step(models, make_batch(models), whole, settings).loss
    alone = [
        discriminator_step(models, make_batch(models, [row]), part, settings).loss for row, part in enumerate(parts)
    ]
    assert judged.item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-4)


def test_with_all_extra_weights_zero_the_step_is_concept_activation_alone(tiny_model: ModelOf) -> None:
    models, settings = make_models(tiny_model("sd")), make_settings(CONCEPT_ONLY)
    bare = replace(models, discriminator=None, segmenter=None)
    batch = replace(make_batch(models), entities=(), reference_latents=None)
    output = step_of(bare, batch, settings)
    assert set(output.losses) == {"concept_activation", "total"}
    assert output.masks is None
    images = models.online.decode(sample(models, batch, settings))
    captioner = BrightnessCaptioner()
    likelihood = captioner.log_likelihood(images, PROMPTS)
    of_prompts = concept_activation_loss(likelihood.log_probabilities, likelihood.mask)
    without_pairs = replace(batch, pair_ids=(), pair_captions=(), pair_latents=None)
    alone = step_of(bare, without_pairs, settings)
    assert alone.total.item() == pytest.approx(of_prompts.item(), rel=1e-4)
    with_everything = step_of(models, make_batch(models), make_settings())
    assert output.total.item() == pytest.approx(with_everything.losses["concept_activation"].item(), rel=1e-5)


def test_the_total_is_the_weighted_sum_of_its_terms(tiny_model: ModelOf) -> None:
    models = make_models(tiny_model("sd"))
    losses = step_of(models, make_batch(models), make_settings()).losses
    expected = (
        EVERYTHING.concept_activation * losses["concept_activation"]
        + EVERYTHING.fidelity * losses["fidelity"]
        + losses["concentration_positive"]
        + losses["concentration_negative"]
    )
    assert losses["total"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert all(not loss.requires_grad for loss in losses.values())


@pytest.mark.parametrize(
    ("off", "gone"),
    [
        ({"concept_activation": 0.0}, {"concept_activation"}),
        ({"fidelity": 0.0}, {"fidelity"}),
        ({"attribute_region": 0.0, "attribute_pixel": 0.0}, {"concentration_positive", "concentration_negative"}),
    ],
)
def test_a_zero_weight_takes_the_term_away_and_the_other_terms_stay(
    tiny_model: ModelOf, off: dict[str, float], gone: set[str]
) -> None:
    models = make_models(tiny_model("sd"))
    batch = make_batch(models)
    everything = step_of(models, batch, make_settings()).losses
    without = step_of(models, batch, make_settings(replace(EVERYTHING, **off))).losses
    assert set(everything) - set(without) == gone
    for name in set(without) - {"total"}:
        assert without[name].item() == pytest.approx(everything[name].item(), rel=1e-4), name


def test_a_term_that_is_off_calls_none_of_its_models(tiny_model: ModelOf, monkeypatch: pytest.MonkeyPatch) -> None:
    models = make_models(tiny_model("sd"))
    decoded: list[tuple[int, bool]] = []
    decode = models.online.decode

    def watched(latents: Tensor, **options: bool) -> Tensor:
        decoded.append((len(latents), torch.is_grad_enabled()))
        return decode(latents, **options)

    monkeypatch.setattr(models.online, "decode", watched)
    batch = make_batch(models)
    fidelity_alone = LossWeights(concept_activation=0.0, fidelity=1.0, attribute_region=0.0, attribute_pixel=0.0)
    bare = replace(models, captioner=None, segmenter=None)
    assert step_of(bare, batch, make_settings(fidelity_alone)).images is None
    assert decoded == []

    without_captioner = replace(models, captioner=None)
    step_of(without_captioner, batch, make_settings(replace(EVERYTHING, concept_activation=0.0)))
    assert decoded == [(4, False)]  # the prompts' images alone, for the segmenter, without a graph


def test_nothing_is_computed_twice(tiny_model: ModelOf, monkeypatch: pytest.MonkeyPatch) -> None:
    models, settings = make_models(tiny_model("sd")), make_settings()
    calls = {"decode": 0, "encode_prompts": 0, "predict": 0, "score": 0}

    def count(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def counted(*args: object, **options: object) -> object:
            calls[name] += 1
            return original(*args, **options)

        monkeypatch.setattr(owner, name, counted)

    for name in ("decode", "encode_prompts", "predict"):
        count(models.online, name)
    count(models.discriminator, "score")
    batch = make_batch(models)
    output = step_of(models, batch, settings)
    assert calls == {"decode": 1, "encode_prompts": 1, "predict": settings.num_inference_steps + 1, "score": 1}
    discriminator_step(models, batch, output, settings)
    assert calls == {"decode": 1, "encode_prompts": 1, "predict": settings.num_inference_steps + 2, "score": 2}
    captioner, segmenter = models.captioner, models.segmenter
    assert isinstance(captioner, BrightnessCaptioner) and isinstance(segmenter, HalfSegmenter)
    assert captioner.calls == [((8, 3, 32, 32), [*PROMPTS, *CAPTIONS])]
    assert len(segmenter.images) == 1


def test_the_untrained_online_model_walks_the_reference_models_trajectory(tiny_model: ModelOf) -> None:
    models, settings = make_models(tiny_model("sd"), stirred=False), make_settings()
    batch = make_batch(models)
    reference = sample(models, batch, settings, adapter=None)
    output = step_of(models, batch, settings)
    torch.testing.assert_close(output.latents, reference, rtol=1e-4, atol=1e-4)


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
    batch, settings = make_batch(models), make_settings(mixed_latents=False, discriminator_real="real")
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
        settings = make_settings(checkpoint_unet=recompute, checkpoint_decoder=recompute)
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
        settings = make_settings(discriminator_real=real)
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
    models, settings = make_models(tiny_model("sd")), make_settings(checkpoint_unet=True)
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
    ups = [p for name, p in models.online.unet.named_parameters() if ".lora_B.online." in name]
    assert ups
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in ups)


def test_each_term_alone_teaches_the_online_model(tiny_model: ModelOf) -> None:
    models = make_models(tiny_model("sd"))
    off = LossWeights(concept_activation=0.0, fidelity=0.0, attribute_region=0.0, attribute_pixel=0.0)
    for term in ("concept_activation", "fidelity", "attribute_region", "attribute_pixel"):
        output = step_of(models, make_batch(models), make_settings(replace(off, **{term: 1.0})))
        assert any(gradient.abs().sum() > 0 for gradient in gradients(models, output.total)), term
