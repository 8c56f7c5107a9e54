"""The runs that an ablation asks for: every row with every seed, as the preset's plan with other settings."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from comat_core.support.errors import UserError
from stages.plan.pipeline import Plan, make_plan
from stages.plan.presets import Preset, load_preset, preset_lineage
from stages.studies.ablation.settings import Ablation, Row
from stages.train.config import TrainConfig

TRAIN = "train"


@dataclass(frozen=True)
class Variant:
    """A row of a table, trained with one seed.

    The seed is the training's alone: prompts, base images, reference latents and the noise that the trained models
    draw from are the preset's, and the same for all variants.

    Attributes:
        settings: overrides of the preset, as `--set` takes them.
        evaluations: names of the nodes that score it.
    """

    table: str
    row: Row
    seed: int
    preset: str
    settings: tuple[str, ...]
    evaluations: tuple[str, ...]

    @cached_property
    def plan(self) -> Plan:
        return make_plan(load_preset(self.preset, self.settings).sections)

    @cached_property
    def keys(self) -> dict[str, str]:
        """Key of each evaluation's artifact."""
        return {name: self.plan.by_name[name].key for name in self.evaluations}

    @property
    def identity(self) -> tuple[str, ...]:
        """What it comes to: variants of the same identity are one run."""
        return tuple(self.keys.values())


def list_variants(ablation: Ablation, preset: str, settings: Sequence[str], seeds: int) -> list[Variant]:
    """All rows with the first seed, then all with the next, so that a whole table stands early.

    Args:
        settings: overrides for all of them; where a row says otherwise, the row holds.
        seeds: how many; the first is the preset's own training seed, the others follow it.

    Raises:
        UserError: the preset has none of the evaluations, a row does not know the preset, or a setting is unknown.
    """
    chosen = load_preset(preset, settings)
    config = chosen.sections[TRAIN]
    assert isinstance(config, TrainConfig)
    lineage = preset_lineage(preset)
    wanted = dict.fromkeys(choice.node for choice in ablation.metrics)
    evaluations = tuple(name for name in wanted if name in chosen.sections)
    if not evaluations:
        advice = f"give the preset one of {', '.join(wanted)}"
        raise UserError("nothing of what the ablation compares is measured", f"preset {chosen.name}", advice)
    variants = [
        Variant(
            table=name,
            row=row,
            seed=seed,
            preset=preset,
            settings=(*settings, *overrides(row, lineage), f"{TRAIN}.seed={seed}"),
            evaluations=evaluations,
        )
        for seed in range(config.seed, config.seed + seeds)
        for name, table in ablation.tables.items()
        for row in table.rows
    ]
    for variant in variants:
        _ = variant.keys  # a mistake in the last row is found before the first is trained
    return variants


def presets_of_rows(ablation: Ablation, preset: str, settings: Sequence[str]) -> list[Preset]:
    """The preset as each row has it that knows the preset; nothing that it names needs to be there.

    Raises:
        UserError: a setting is unknown.
    """
    lineage = preset_lineage(preset)
    known = [row for table in ablation.tables.values() for row in table.rows]
    rows = [row for row in known if not row.presets or set(row.presets) & set(lineage)]
    return [load_preset(preset, [*settings, *overrides(row, lineage)]) for row in rows]


def distinct_runs(variants: Sequence[Variant]) -> list[Variant]:
    """One variant of each set that is one and the same run: rows of several tables often are."""
    runs: dict[tuple[str, ...], Variant] = {}
    for variant in variants:
        runs.setdefault(variant.identity, variant)
    return list(runs.values())


def overrides(row: Row, lineage: Sequence[str]) -> Iterator[str]:
    """A row's settings as overrides of a preset.

    Args:
        lineage: names of the preset and of those that it extends, the nearest first.

    Raises:
        UserError: the row depends on the preset, and knows none of these.
    """
    known = next((name for name in lineage if name in row.presets), None)
    if row.presets and known is None:
        raise UserError(
            f"the row {row.name!r} knows no models for the preset {lineage[0]!r}",
            "ablation",
            f"use or extend one of {', '.join(row.presets)}, or choose other rows with --row",
        )
    chosen: dict[str, Any] = row.settings | (row.presets[known] if known is not None else {})
    # JSON is YAML on one line, which is what an override's value is.
    yield from (f"{TRAIN}.{name}={json.dumps(value)}" for name, value in chosen.items())
