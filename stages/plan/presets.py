"""Presets: one YAML file holds the settings of a whole run, checked field by field.

    seed, resolution, models     shared: a stage that declares a field of that name gets it
    execution                    how to run: task runner, workers, retries; no part of any key
    extends                      another preset, by name or path, whose settings hold where this one has none
    prompts, train, ...          one section per stage; "evaluate" holds one per benchmark, and "attention" takes
                                 from "images" what it does not say itself
    audit                        who draws where nothing is trained: base and, if two are compared, tuned; such a preset
                                 has prompts, evaluate and report beside it (`comat audit` writes one)

`load_preset` reads one of the shipped presets by its name, or a file of the user's by its path.

Where a setting may be of several kinds, such as `captioning`, its `kind` says which, and what else stands there are
that kind's own settings: whoever names another kind, in an extending preset or by an override, starts afresh.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import data
from comat_core.files.paths import file_exists
from comat_core.settings import Settings
from comat_core.support.errors import UserError, shortened
from data.formats.yaml_files import DEEPEST, parse_yaml, read_yaml_mapping
from stages.plan import dag
from stages.plan.config import ModelReference, StageConfig
from stages.plan.dag import Node, load_stage
from stages.plan.setting_errors import KIND, setting_error

PRESET_FOLDER = Path(data.__file__).parent / "presets"
LONGEST_CHAIN = 32
"""Presets of which each extends the next."""


class Execution(Settings):
    """How a run is carried out. Nothing here changes a result."""

    runner: Annotated[Literal["processes", "dask", "ray"], Field(description="task runner of the flow")] = "processes"
    workers: Annotated[int, Field(ge=1, le=1024, description="tasks at the same time, in as many processes")] = 1
    address: Annotated[str | None, Field(description="of a running Dask or Ray cluster; none starts a local one")] = (
        None
    )
    retries: Annotated[int, Field(ge=0, le=100, description="further attempts at a task that failed")] = 2
    retry_delay: Annotated[float, Field(ge=0, le=3600, description="seconds before another attempt")] = 5.0


class Shared(Settings):
    """The part of a preset that several stages read."""

    description: Annotated[str, Field(description="one line for `comat presets`")]
    seed: Annotated[int, Field(ge=0, lt=2**63, description="every random number of the run is derived from it")]
    resolution: Annotated[int, Field(ge=8, le=4096, multiple_of=8, description="pixels per side of an image")]
    models: dict[str, ModelReference] = Field(default={})
    execution: Execution = Execution()


class Preset(BaseModel):
    """A preset with every stage's config, complete and checked."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    name: str
    shared: Shared
    sections: dict[str, StageConfig]


def preset_names() -> list[str]:
    return sorted(path.stem for path in PRESET_FOLDER.glob("*.yaml"))


def load_preset(name: str, overrides: Sequence[str] = ()) -> Preset:
    """Load a preset by name or path, with `dotted.key=value` overrides.

    Raises:
        UserError: no such preset, malformed YAML, or a value that its field does not allow.
    """
    path = _preset_path(name)
    values = _read_preset(path)
    for override in overrides:
        _apply_override(values, override)
    source = f"preset {path.stem}" + (f" with --set {' --set '.join(overrides)}" if overrides else "")
    sections = _take_sections(values)
    shared = _validate(Shared, values, "", source)
    defaults = {"seed": shared.seed, "resolution": shared.resolution, **shared.models}
    used: set[str] = set()
    configs = {}
    for section, (node, given) in sections.items():
        config_type = load_stage(node.module, node.stage).config_type
        filled = {name: defaults[name] for name in config_type.model_fields if name in defaults}
        used |= set(filled)
        _, likewise = sections[node.like or section]
        known = {name: value for name, value in likewise.items() if name in config_type.model_fields}
        configs[section] = _validate(config_type, filled | _merged(known, given), section, source)
    for config in configs.values():
        _check_beside(config, configs, source)
    unused = sorted(set(shared.models) - used)
    if unused:
        raise UserError(f"models.{unused[0]} is used by no stage", source, "remove it or correct its name")
    return Preset(name=path.stem, shared=shared, sections=configs)


def preset_lineage(name: str) -> tuple[str, ...]:
    """Names of a preset and of those that it extends, the nearest first.

    Raises:
        UserError: no such preset, malformed YAML, or a preset that extends itself.
    """
    path = _preset_path(name)
    base = _read_yaml(path).get("extends")
    _read_preset(path)  # which has an end, or says so
    return (path.stem,) if base is None else (path.stem, *preset_lineage(str(base)))


def as_yaml(preset: Preset) -> str:
    """The complete preset, defaults included, as it could be saved and loaded again."""
    values: dict[str, Any] = preset.shared.model_dump(mode="json")
    for section, config in preset.sections.items():
        *parents, last = section.split(".")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = config.model_dump(mode="json")
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _preset_path(name: str) -> Path:
    if name in preset_names():
        return PRESET_FOLDER / f"{name}.yaml"
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not file_exists(path):
            raise UserError("there is no such preset file", name, "correct the path")
        return path
    advice = f"choose one of: {', '.join(preset_names())}; or give the path of a .yaml file"
    raise UserError(f"unknown preset {shortened(repr(name))}", "preset", advice)


def _read_preset(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a preset over the one that it extends."""
    values = _read_yaml(path)
    base = values.pop("extends", None)
    if base is None:
        return values
    chain = (*extended_by, path.resolve())
    base_path = _preset_path(str(base))
    if base_path.resolve() in chain:
        raise UserError(f"the preset extends itself, by way of {base!r}", str(path), "remove one of the extends")
    if len(chain) > LONGEST_CHAIN:
        raise UserError(f"presets that extend each other {len(chain)} deep", str(path), "put some of them together")
    return _merged(_read_preset(base_path, chain), values)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Put `changes` over `base`: settings inside settings are merged, everything else is replaced.

    Settings of one kind are none of another's: where `changes` names another kind, those of `base` fall away.
    """
    if KIND in base and base[KIND] != changes.get(KIND, base[KIND]):
        return dict(changes)
    merged = dict(base)
    for name, value in changes.items():
        below = merged.get(name)
        merged[name] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _read_yaml(path: Path) -> dict[str, Any]:
    values = read_yaml_mapping(path, "preset")
    if isinstance(values.get("models"), dict):  # both spellings, "base: path" and "base: {path: ...}", take overrides
        values["models"] = {
            name: {"path": model} if isinstance(model, str) else model for name, model in values["models"].items()
        }
    return values


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    names = key.strip().split(".")
    if not separator or not all(names):
        raise UserError(
            f"cannot read {shortened(repr(override))}", "--set", "write it as dotted.key=value, such as train.steps=100"
        )
    if len(names) > DEEPEST:
        raise UserError(f"a key of {len(names):,} parts", "--set", "run `comat show` for the names")
    try:
        value = parse_yaml(text, "value", "--set")
    except UserError as error:
        problem = f"cannot read the value of {shortened(repr(override))}: {error.what}"
        raise UserError(problem, "--set", "quote it as YAML does") from error
    place = values
    for name in names[:-1]:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise UserError(f"{name} in {key} has no settings inside", "--set", "run `comat show` for the names")
    if names[-1] == KIND and place.get(KIND, value) != value:
        place.clear()  # what was set for the other kind
    place[names[-1]] = value


def _take_sections(values: dict[str, Any]) -> dict[str, tuple[Node, dict[str, Any]]]:
    """Take the stages' sections out of `values`: section name -> (its node, the settings given)."""
    sections = {}
    audited = values.get("audit")
    for node in dag.nodes_for({f"audit.{name}" for name in audited} if isinstance(audited, dict) else ()):
        *parents, last = node.section.split(".")
        place: Any = values
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        present = isinstance(place, dict) and last in place
        if node.section not in sections and (present or not node.on_demand):
            given = place[last] if present else {}
            if not isinstance(given, dict | None):
                raise UserError(f"section {node.section} has no settings inside", "preset", "write name: value lines")
            sections[node.section] = (node, given or {})
    for section in sections:
        _remove(values, section.split("."))
    return sections


def _remove(values: Any, names: Sequence[str]) -> None:
    """Remove an entry, and the mapping around it when nothing else is left there."""
    if not isinstance(values, dict) or names[0] not in values:
        return
    if len(names) > 1:
        _remove(values[names[0]], names[1:])
    if len(names) == 1 or not values[names[0]]:
        del values[names[0]]


def _validate(model: type[Any], values: dict[str, Any], section: str, source: str) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        sections = () if section else tuple(dict.fromkeys(node.section for node in dag.NODES))
        raise setting_error(error, model, values, section, source, sections) from error


def _check_beside(config: StageConfig, sections: dict[str, StageConfig], source: str) -> None:
    try:
        config.check_beside(sections)
    except ValueError as error:
        raise UserError(str(error), source, "set both alike") from error
