"""The classes of diffusers' schedulers, by what their noise levels are made of."""

from collections.abc import Mapping
from typing import Any, Final

SCHEDULERS_OF_BETAS: Final = (
    "DDIMInverseScheduler",
    "DDIMParallelScheduler",
    "DDIMScheduler",
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepInverseScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
)
"""Those that ddpm, ddim and dpm-solver++ can take over (`comat_core.sampling.schedulers.betas`)."""

SCHEDULERS_OF_FLOWS: Final = ("FlowMatchEulerDiscreteScheduler",)
"""Those that walk straight lines (`comat_core.sampling.schedulers.flow_matching`)."""

SCHEDULERS_OF_FLOWS_OR_SOLVERS: Final = (*SCHEDULERS_OF_FLOWS, "DPMSolverMultistepScheduler")
"""Those, and solvers whose config says that they walk a flow's noise levels."""


def walks_flow(config: Mapping[str, Any]) -> bool:
    """Whether the config of a solver that knows betas too says that its model was trained by flow matching."""
    return bool(config.get("use_flow_sigmas")) and config.get("prediction_type") == "flow_prediction"
