"""The manifest of an audit: what was measured with what, in digests that another machine can make again."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from comat_core.files.json_files import read_json
from comat_core.support.errors import UserError, first_problem
from data.downloading.downloads import PublishedFile
from stages.evaluate.scoring.comparisons import SUMMARY
from stages.models.model_references import image_folders, named_models
from stages.plan.config import ModelReference
from stages.plan.digests import digest_bytes, digest_json
from stages.plan.library_versions import library_versions
from stages.plan.pipeline import PROMPTS, Plan
from stages.plan.presets import Preset, as_yaml
from stages.prompts.tables import read_prompts
from stages.store.artifacts import Artifact
from stages.studies.audit.samplers import Sampler

FORMAT: Final = 1
KIND: Final = "manifest of an audit"
ADVICE: Final = "give the manifest.json that `comat audit` has written"


class PromptSet(BaseModel):
    """The prompts of a split."""

    model_config = ConfigDict(frozen=True)

    count: int
    digest: str
    """Of ids, texts, sources and skills, in their order."""


class AuditManifest(BaseModel):
    """Everything that an audit claims."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = FORMAT
    made_at: str
    """ISO 8601, UTC."""
    names: dict[str, str]
    """Name in the plan -> of the model, for the reader."""
    samplers: dict[str, Sampler | None]
    models: dict[str, str]
    """Setting -> identity of what it names: a digest of files, or a hub id with its revision."""
    prompts: dict[str, PromptSet]
    keys: dict[str, str]
    """Node -> key, a digest of all settings and files that its artifact follows from."""
    images: dict[str, str]
    """Node -> digest of the files that were drawn. Other machines draw others, by rounding."""
    scores: dict[str, Any]
    """Node -> summary of an evaluation."""
    libraries: dict[str, str]
    settings: dict[str, Any]
    """The audit's preset."""
    report: str
    """sha256 of the page."""
    digest: str = ""
    """Of all of the above."""

    def own_digest(self) -> str:
        return digest_json(self.model_dump(mode="json", exclude={"digest"}))


def make_manifest(
    preset: Preset,
    plan: Plan,
    artifacts: Mapping[str, Artifact],
    names: Mapping[str, str],
    samplers: Mapping[str, Sampler | None],
    page: bytes,
) -> AuditManifest:
    """Gather what a finished audit rests on.

    Args:
        artifacts: node name -> finished artifact, of all nodes.
        page: the report.
    """
    manifest = AuditManifest(
        made_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        names=dict(names),
        samplers=dict(samplers),
        models=identities(preset),
        prompts=prompt_sets(artifacts[PROMPTS]),
        keys={node.name: node.key for node in plan.nodes},
        images={name: one.manifest.digest for name, one in artifacts.items() if name.startswith("images.")},
        scores=summaries(artifacts),
        libraries=library_versions(),
        settings=yaml.safe_load(as_yaml(preset)),
        report=digest_bytes(page),
    )
    return manifest.model_copy(update={"digest": manifest.own_digest()})


def read_manifest(path: Path) -> AuditManifest:
    """Read a manifest.

    Raises:
        UserError: it cannot be read, or is none.
    """
    content = read_json(path, KIND, shape="object", advice=ADVICE)
    try:
        return AuditManifest.model_validate(content)
    except ValidationError as error:
        raise UserError(f"no {KIND}: {first_problem(error, 'the whole')}", str(path), ADVICE) from error


def identities(preset: Preset) -> dict[str, str]:
    """Setting -> what it names: every model, published file and folder of images of a preset.

    Raises:
        UserError: a folder is not there.
    """
    found: dict[str, str] = {}
    for section, config in preset.sections.items():
        for named in named_models(config, section):
            found[named.setting] = identity_of(named.reference)
        for setting, folder in image_folders(config, section):
            found[setting] = folder.identity()
    return found


def identity_of(reference: ModelReference | PublishedFile) -> str:
    """What a reference names, wherever it lies."""
    return reference.checksum if isinstance(reference, PublishedFile) else reference.identity()


def prompt_sets(prompts: Artifact) -> dict[str, PromptSet]:
    """Split -> its prompts, the training sources' among them, in which the others were looked for."""
    by_split: dict[str, list[list[str]]] = {}
    for row in read_prompts(prompts):
        by_split.setdefault(row.split, []).append([row.prompt_id, row.text, row.source, row.skill])
    return {split: PromptSet(count=len(rows), digest=digest_json(rows)) for split, rows in by_split.items()}


def summaries(artifacts: Mapping[str, Artifact]) -> dict[str, Any]:
    """Node -> summary, of all evaluations."""
    return {name: one.read_json(SUMMARY) for name, one in artifacts.items() if name.startswith("evaluate.")}
