"""Whether an audit's manifest holds on this machine: its digests are made again, and compared."""

import tempfile
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from comat_core.support.errors import UserError
from stages.plan.digests import digest_file
from stages.plan.library_versions import library_versions
from stages.plan.pipeline import PROMPTS, Plan, look_up, make_plan
from stages.plan.presets import Preset, load_preset
from stages.store.store import Store
from stages.studies.audit.manifest import AuditManifest, identities, prompt_sets, summaries

REPORT = "report.html"


class Answer(StrEnum):
    """What a comparison gave."""

    SAME = "same"
    OTHER = "DIFFERS"
    UNKNOWN = "unknown"
    """It cannot be made here."""


class Comparison(BaseModel):
    """One claim of a manifest beside what is found here."""

    model_config = ConfigDict(frozen=True)

    answer: Answer
    what: str

    def __str__(self) -> str:
        return f"{self.answer:<8} {self.what}"


def check_manifest(
    manifest: AuditManifest, folder: Path, store: Store, overrides: Sequence[str] = ()
) -> list[Comparison]:
    """Compare a manifest's claims with what this machine has.

    Args:
        folder: that the manifest lies in, with the report beside it.
        store: where the prompts are made, and the scores looked for.
        overrides: of the audit's settings, for models that lie elsewhere here.

    Raises:
        UserError: the settings are of another version of this package, or the prompts cannot be had.
    """
    preset = _preset_of(manifest.settings, overrides)
    plan = make_plan(preset.sections)
    compared = [_same(manifest.digest == manifest.own_digest(), "the manifest itself")]
    compared += _report(manifest, folder)
    models = list(_models(manifest, preset))
    compared += models
    if any(one.answer is Answer.UNKNOWN for one in models):
        compared.append(Comparison(answer=Answer.UNKNOWN, what="keys and scores: a model is not here"))
    else:
        compared += _keys(manifest, plan)
        compared += _scores(manifest, plan, store)
    compared += _prompts(manifest, plan, store)
    return [*compared, *_libraries(manifest)]


def _preset_of(settings: Any, overrides: Sequence[str]) -> Preset:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.yaml"
        path.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return load_preset(str(path), overrides)


def _same(is_same: bool, what: str) -> Comparison:
    return Comparison(answer=Answer.SAME if is_same else Answer.OTHER, what=what)


def _report(manifest: AuditManifest, folder: Path) -> Iterator[Comparison]:
    page = folder / REPORT
    if page.is_file():
        yield _same(digest_file(page) == manifest.report, f"{REPORT} beside it")
    else:
        yield Comparison(answer=Answer.UNKNOWN, what=f"{REPORT}: it does not lie beside the manifest")


def _models(manifest: AuditManifest, preset: Preset) -> Iterator[Comparison]:
    """Every model by itself: one that is missing says nothing of the others."""
    for section, config in preset.sections.items():
        alone = preset.model_copy(update={"sections": {section: config}})
        of_section = {name: one for name, one in manifest.models.items() if name.startswith(f"{section}.")}
        try:
            found = identities(alone)
        except UserError as error:
            yield Comparison(answer=Answer.UNKNOWN, what=f"{', '.join(of_section)}: {error}")
            continue
        for name in sorted(found | of_section):
            yield _same(found.get(name) == of_section.get(name), f"{name}: {of_section.get(name)}")


def _keys(manifest: AuditManifest, plan: Plan) -> Iterator[Comparison]:
    keys = {node.name: node.key for node in plan.nodes}
    changed = sorted(name for name in keys | manifest.keys if keys.get(name) != manifest.keys.get(name))
    told = f": {len(changed)} are others, the first of them {changed[0]}" if changed else ""
    yield _same(not changed, f"the keys of {len(manifest.keys)} artifacts, which follow from settings and files{told}")


def _scores(manifest: AuditManifest, plan: Plan, store: Store) -> Iterator[Comparison]:
    """The evaluations that the store has under the manifest's own keys."""
    found = look_up(plan, store) if store.exists() else {}
    here = {name: one.artifact for name, one in found.items() if one.artifact is not None}
    own = summaries({name: one for name, one in here.items() if one.key == manifest.keys.get(name)})
    for name, summary in manifest.scores.items():
        if name in own:
            yield _same(own[name] == summary, f"scores of {name}")
        else:
            yield Comparison(answer=Answer.UNKNOWN, what=f"scores of {name}: the store has none; run the audit here")


def _prompts(manifest: AuditManifest, plan: Plan, store: Store) -> Iterator[Comparison]:
    node = plan.by_name[PROMPTS]
    found = prompt_sets(node.stage.run(node.config, {}, store))
    for split in sorted(found | manifest.prompts):
        claimed = manifest.prompts.get(split)
        count = 0 if claimed is None else claimed.count
        yield _same(found.get(split) == claimed, f"{count:,} prompts of the split {split}")


def _libraries(manifest: AuditManifest) -> Iterator[Comparison]:
    """Another version is a reason to expect other roundings, and no fault."""
    here = library_versions()
    for name, version in manifest.libraries.items():
        if here.get(name) != version:
            told = f"{name} {version} there, {here.get(name, 'none')} here: images and scores may differ by rounding"
            yield Comparison(answer=Answer.UNKNOWN, what=told)
