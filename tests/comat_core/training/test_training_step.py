"""A step of training as a whole: what moves, what repeats, what is computed."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from comat_core.losses.concept_activation import concept_activation_loss
from comat_core.training.step_settings import LossWeights
from comat_core.training.training_step import discriminator_step
from tests.comat_core.training.training_steps import (
    ModelOf,
    assert_close,
    gradients,
    judge_of,
    judge_parameters,
    online_parameters,
    step_of,
)
from tests.comat_core.training.training_world import (
    CAPTIONS,
    CONCEPT_ONLY,
    EVERYTHING,
    PROMPTS,
    BrightnessCaptioner,
    HalfSegmenter,
    make_batch,
    make_models,
    make_settings,
    sample,
)


@pytest.mark.parametrize(("kind", "judge_kind"), [("sd", None), ("sdxl", "sd")])
def test_every_trainable_parameter_moves_after_one_step_and_no_frozen_one_does(
    tiny_model: ModelOf, kind: str, judge_kind: str | None
) -> None:
    models = make_models(tiny_model(kind), judge=tiny_model(judge_kind) if judge_kind else None)
    batch, settings = make_batch(models), make_settings()
    online, judge = models.online, judge_of(models)
    modules = [online.denoiser, online.vae, online.pipeline.text_encoder, judge.head]
    modules += [judge.model.denoiser] if judge.model is not online else []
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
    without = step_of(models, batch, make_settings(EVERYTHING.model_copy(update=off))).losses
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
    step_of(without_captioner, batch, make_settings(EVERYTHING.model_copy(update={"concept_activation": 0.0})))
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
    assert calls == {"decode": 1, "encode_prompts": 1, "predict": settings.sampling.num_inference_steps + 1, "score": 1}
    discriminator_step(models, batch, output, settings)
    assert calls == {"decode": 1, "encode_prompts": 1, "predict": settings.sampling.num_inference_steps + 2, "score": 2}
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
