"""Versions of the libraries that a result depends on, for the manifests."""

import platform
from functools import cache
from importlib import metadata

LIBRARIES = (
    "comat-pipeline",
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "peft",
    "accelerate",
    "spacy",
    "torchmetrics",
    "torch-fidelity",
    "numpy",
    "pyarrow",
    "prefect",
)


@cache
def library_versions() -> dict[str, str]:
    """Name -> version of Python and of the libraries that are installed."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
