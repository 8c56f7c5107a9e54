"""A checkpoint's noise levels in another scheduler: the same ones, or an error."""

from typing import Any

import pytest
import torch
from diffusers import (
    DDPMScheduler,
    EDMDPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

from comat_core.sampling.schedulers import make_scheduler
from comat_core.sampling.schedulers.betas import BETA_SCHEDULERS
from comat_core.support.errors import UserError

BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TRAINED = torch.linspace(0.001, 0.03, 1000).tolist()


@pytest.mark.parametrize("name", BETA_SCHEDULERS)
@pytest.mark.parametrize(
    "own",
    [
        PNDMScheduler(**BETAS),
        EulerDiscreteScheduler(**BETAS, use_karras_sigmas=True),
        EulerDiscreteScheduler(**BETAS, rescale_betas_zero_snr=True, prediction_type="v_prediction"),
        DDPMScheduler(trained_betas=TRAINED),  # pyright: ignore[reportArgumentType]
    ],
)
def test_the_noise_levels_are_the_checkpoints_own(own: Any, name: str) -> None:
    made = make_scheduler(own, name)
    torch.testing.assert_close(made.own.alphas_cumprod[:-1], own.alphas_cumprod[:-1], atol=1e-6, rtol=1e-4)
    assert made.prediction_type == own.config.prediction_type


@pytest.mark.parametrize("name", BETA_SCHEDULERS)
@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (EDMDPMSolverMultistepScheduler(), "it has no betas"),
        (FlowMatchEulerDiscreteScheduler(), "it has no betas"),
        (EulerDiscreteScheduler(**BETAS, timestep_type="continuous", sigma_max=700.0), "timestep_type is 'continuous'"),
        (UniPCMultistepScheduler(**BETAS, use_flow_sigmas=True), "use_flow_sigmas is True"),
        (UniPCMultistepScheduler(**BETAS, prediction_type="flow_prediction"), "its network predicts 'flow_prediction'"),
    ],
)
def test_noise_levels_that_cannot_be_taken_over_are_refused(own: Any, name: str, reason: str) -> None:
    message = rf"cannot take over the noise levels of the checkpoint's {type(own).__name__}: {reason}"
    with pytest.raises(UserError, match=message):
        make_scheduler(own, name)


def test_a_schedule_of_betas_that_the_other_class_does_not_know_is_refused() -> None:
    own = DDPMScheduler(beta_schedule="sigmoid")
    make_scheduler(own, "ddpm")
    with pytest.raises(UserError, match=r"ddim cannot take over .* DDPMScheduler: sigmoid is not implemented"):
        make_scheduler(own, "ddim")
