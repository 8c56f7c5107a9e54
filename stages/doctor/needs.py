"""The models and data that a preset names: which are here, which can be fetched, which are missing."""

from collections.abc import Iterator
from pathlib import Path

from comat_core.files.paths import folder_exists
from comat_core.support.errors import UserError
from data.downloading.downloads import DEFAULT_CACHE
from data.registry import select_sets
from stages.doctor.findings import Finding, gigabytes, good, note, problem
from stages.models.hub import Presence
from stages.models.model_references import image_folders
from stages.models.needed_models import NeededModel, needed_models
from stages.plan.presets import Preset
from stages.prompts.config import PromptsConfig


def examine_models(preset: Preset, unreachable: str | None) -> Iterator[Finding]:
    """Models that cannot be used or had, and what there is to fetch.

    Args:
        unreachable: why the hub gives no answer; None if it does.
    """
    try:
        models = needed_models([preset])
    except UserError as error:
        yield problem("models", f"{error.what} ({error.where})", error.what_to_do)
        return
    for model in models:
        if "unusable" in model.presence:
            yield problem("models", f"{model.name}: {model.presence}", f"correct {', '.join(model.roles)}")
        elif model.presence.startswith("not installed: "):
            advice = f"run `{model.presence.removeprefix('not installed: ')}`"
            yield problem("models", f"{model.name} is not installed", advice)
    absent = [model for model in models if _is_to_be_fetched(model)]
    if not absent:
        yield good("models", f"all {len(models)} that the preset names are here")
        return
    size = gigabytes(sum(model.size or 0 for model in absent))
    told = f"{len(absent)} of {len(models)} are to be fetched, {size}: {', '.join(model.name for model in absent)}"
    command = f"`comat models {preset.name} --download`"
    if unreachable is None:
        yield note("models", told, f"a run fetches them; {command} does so now")
    else:
        yield problem("models", f"{told}; the hub gives no answer", f"run {command} with a connection")


def _is_to_be_fetched(model: NeededModel) -> bool:
    return model.presence.startswith((str(Presence.MISSING), str(Presence.PARTLY)))


def examine_data(preset: Preset) -> Iterator[Finding]:
    """Folders of real images and files of prompts that are not there."""
    missing = False
    folders: dict[str, list[str]] = {}
    for section, config in preset.sections.items():
        for name, reference in image_folders(config, section):
            folders.setdefault(reference.path, []).append(name)
    for path, names in folders.items():
        if not folder_exists(Path(path).expanduser()):
            missing = True
            advice = f"put the data set there, or set {', '.join(names)}"
            yield problem("data", f"there is no folder of real images at {path}", advice)
    prompts = preset.sections.get("prompts")
    if not isinstance(prompts, PromptsConfig):
        return
    for selection in (*prompts.train, *prompts.evaluation):
        if selection.file is not None:
            try:
                selection.content_identity()
            except UserError as error:
                missing = True
                yield problem("data", f"{error.what} ({error.where})", error.what_to_do)
    absent = _sources_to_fetch(prompts)
    if absent and prompts.local_dir is None:
        sources = ", ".join(sorted({name.split("/")[0] for name in absent}))
        yield note("data", f"{len(absent)} sets of prompts are to be fetched, of {sources}", "a run fetches them")
    elif not missing:
        yield good("data", f"all {len(folders)} folders of images and all prompts are here")


def _sources_to_fetch(prompts: PromptsConfig) -> list[str]:
    """Registered sets that are files, and that the cache of downloads lacks."""
    cache = Path(prompts.cache_dir).expanduser() if prompts.cache_dir else DEFAULT_CACHE
    wanted = [one.source for one in (*prompts.train, *prompts.evaluation) if one.source is not None]
    return [
        f"{source.name}/{one.name}"
        for pattern in dict.fromkeys(wanted)
        for source, one in select_sets(pattern)
        if one.path is not None and not (cache / source.name / one.path).exists()
    ]
