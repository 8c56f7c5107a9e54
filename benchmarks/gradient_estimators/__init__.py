"""Which of a walk's calls of the denoiser a gradient goes through (`estimators`), and going through them one by one."""

from benchmarks.gradient_estimators.estimators import ESTIMATORS, Estimator
from benchmarks.gradient_estimators.path_coefficients import path_coefficients, reach
from benchmarks.gradient_estimators.plan import GradientPlan, chained
from benchmarks.gradient_estimators.walk_back import walk_back, walk_back_together

__all__ = [
    "ESTIMATORS",
    "Estimator",
    "GradientPlan",
    "chained",
    "path_coefficients",
    "reach",
    "walk_back",
    "walk_back_together",
]
