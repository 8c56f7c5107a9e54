"""The versions that are installed, beside those that the package asks for."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from stages.doctor.findings import Finding, good, problem

PACKAGE = "comat-pipeline"
TOLD = ("torch", "diffusers", "transformers", "peft", "accelerate", "prefect")
"""Those that a report of a failure needs."""


def examine_software() -> Iterator[Finding]:
    """The versions, and every requirement that is not met."""
    versions = [f"{name} {_version(name) or 'missing'}" for name in TOLD]
    yield good("software", f"python {platform.python_version()}, {', '.join(versions)}")
    try:
        wanted = requires(PACKAGE) or []
    except PackageNotFoundError:
        yield problem("software", f"{PACKAGE} is not installed", "run `pip install -e .` in its folder")
        return
    for requirement in map(Requirement, wanted):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield from _unmet(requirement)


def _unmet(requirement: Requirement) -> Iterator[Finding]:
    found = _version(requirement.name)
    advice = f"run `pip install '{requirement.name}{requirement.specifier}'`"
    if found is None:
        yield problem("software", f"{requirement.name} is not installed", advice)
    elif not requirement.specifier.contains(found, prereleases=True):
        yield problem("software", f"{requirement.name} is {found}, not {requirement.specifier}", advice)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
