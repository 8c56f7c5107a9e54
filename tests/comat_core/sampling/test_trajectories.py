from collections import Counter
from collections.abc import Callable

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from comat_core.backbones.protocol import Backbone
from comat_core.sampling.schedulers import BetaScheduler
from comat_core.sampling.trajectories import pair_start_steps, start_from_images, start_from_noise
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator, normal_noise
from tests.tiny_models import IMAGE_SIDE

SHAPE = (4, 8, 8)


def test_a_seed_gives_the_same_start_and_the_same_further_noise_in_any_batch(
    tiny_model: Callable[[str], Backbone],
) -> None:
    model = tiny_model("sd")
    latents, generators = start_from_noise(model, [5, 6], IMAGE_SIDE)
    alone, own = start_from_noise(model, [6], IMAGE_SIDE)
    assert latents.shape == (2, *SHAPE)
    assert torch.equal(latents[1:], alone)
    assert torch.equal(normal_noise(SHAPE, generators)[1:], normal_noise(SHAPE, own))
    assert not torch.equal(latents[0], latents[1])


def test_real_latents_are_noised_to_the_level_of_the_step_they_join_at() -> None:
    scheduler = BetaScheduler(DDPMScheduler(steps_offset=1))
    clean = normal_noise(SHAPE, [make_generator(0, "clean", row) for row in range(6)])
    generators = [make_generator(0, "pair", row) for row in range(6)]
    noised, starts = start_from_images(
        clean, generators, scheduler=scheduler, num_inference_steps=10, steps=[3, 4, 5, 6]
    )
    assert len(set(starts)) > 1
    for row, start in enumerate(starts):
        again = make_generator(0, "pair", row)
        assert start == [3, 4, 5, 6][int(torch.randint(4, (), generator=again))]
        kept = scheduler.own.alphas_cumprod[scheduler.timesteps(10)[start]]
        expected = kept**0.5 * clean[row] + (1 - kept) ** 0.5 * normal_noise(SHAPE, [again])[0]
        assert torch.allclose(noised[row], expected, atol=1e-6)


def test_no_real_image_is_no_error() -> None:
    empty = torch.zeros(0, *SHAPE)
    latents, starts = start_from_images(
        empty, [], scheduler=BetaScheduler(DDPMScheduler()), num_inference_steps=4, steps=[1]
    )
    assert latents.shape == (0, *SHAPE)
    assert starts == []


def test_tau_is_uniform_over_the_steps_in_range() -> None:
    steps = pair_start_steps(BetaScheduler(DDPMScheduler()), 10, (200, 500))
    assert steps == [4, 5, 6, 7]  # timesteps 500, 400, 300, 200
    drawn = Counter()
    for item in range(400):
        generators = [make_generator(0, "pair", item)]
        _, starts = start_from_images(
            torch.zeros(1, 1, 1, 1),
            generators,
            scheduler=BetaScheduler(DDPMScheduler()),
            num_inference_steps=10,
            steps=steps,
        )
        drawn.update(starts)
    assert sorted(drawn) == steps
    assert all(70 <= count <= 130 for count in drawn.values())


def test_a_range_without_any_sampling_step_is_refused() -> None:
    with pytest.raises(UserError, match=r"none of the 10 sampling steps .* from 410 to 490 .* widen the range"):
        pair_start_steps(BetaScheduler(DDPMScheduler()), 10, (410, 490))
