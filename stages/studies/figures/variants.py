"""Columns of images by differently trained models, from the same noise: the paper's Figures 5 and 7."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from comat_core.support.errors import UserError
from stages.attention.words import in_drawn_order
from stages.batches import batches
from stages.images.finished import find_finished
from stages.plan.pipeline import make_plan
from stages.plan.presets import Preset, load_preset
from stages.plan.splits import TEST
from stages.prompts.tables import read_texts
from stages.sampling import TUNED, decode_images, sample_latents, sampling_model
from stages.store.store import Condition, Store
from stages.studies.ablation.settings import load_ablation
from stages.studies.ablation.variants import TRAIN, Variant, list_variants
from stages.tuned.comparison import sample_seed
from stages.tuned.tuned_model import TunedModel, find_tuned_model

ROWS_OF_FIGURES: Final = {
    "parts": ("activation", "activation_concentration"),
    "fidelity": ("no_discriminator", "unet_generated"),
}
"""Figure, which is a table of the ablation -> the rows of the ablation that it shows. Those of the second differ in
fidelity preservation alone."""


@dataclass(frozen=True)
class Column:
    """A model whose images stand below each other.

    Attributes:
        adapter: the tuned model's, or None for the base model.
    """

    label: str
    model: TunedModel
    adapter: str | None


@dataclass(frozen=True)
class ImageRow:
    """One prompt from one noise.

    Attributes:
        number: of the prompt, from which its noise follows with the seed.
    """

    prompt: str
    number: int
    seed: int


def variants_of(figure: str, names: Sequence[str], preset: str, settings: Sequence[str]) -> list[Variant]:
    """The ablation's trainings that a figure shows, with the preset's own training seed, in the figure's order.

    Args:
        names: of rows of the ablation's tables; the figure's own if none.

    Raises:
        UserError: there is no such row, or the preset does not know it.
    """
    ablation = load_ablation()
    wanted = names or ROWS_OF_FIGURES[figure]
    known = list(dict.fromkeys(row.name for table in ablation.tables.values() for row in table.rows))
    for name in wanted:
        if name not in known:
            raise UserError(f"unknown variant {name!r}", "--variant", f"choose one of: {', '.join(known)}")
    selected = ablation.select(() if names else (figure,), wanted)
    by_name = {variant.row.name: variant for variant in reversed(list_variants(selected, preset, settings, seeds=1))}
    return [by_name[name] for name in dict.fromkeys(wanted)]


def find_columns(variants: Sequence[Variant], store: Store) -> tuple[list[Column], list[str]]:
    """The columns of the variants that the store holds, the base model's first, and a line for each of the others.

    Raises:
        UserError: the store holds none, or a damaged one.
    """
    columns, missing = [], []
    for variant in variants:
        node = variant.plan.by_name[TRAIN]
        if store.look_up(node.stage.name, node.key).condition is Condition.MISSING:
            missing.append(f"{variant.row.label} is not trained here: run {_command(variant)}")
            continue
        model = find_tuned_model(load_preset(variant.preset, variant.settings), store)
        columns.append(Column(variant.row.label, model, TUNED))
    if not columns:
        what = "the store holds none of the figure's trainings"
        raise UserError(what, f"store {store.url}", f"run {_command(*variants)} first")
    return [Column("base model", columns[0].model, None), *columns], missing


def held_out_prompts(preset: Preset, store: Store, name: str, count: int) -> list[str]:
    """The first prompts of the test split in the order that the run's seed draws, without a look at any image.

    Args:
        name: of the preset as the user wrote it, for the advice.

    Raises:
        UserError: the store does not hold them, or there are none.
    """
    artifact = find_finished(make_plan(preset.sections), "prompts", store, name)
    texts = {prompt.prompt_id: prompt.text for prompt in read_texts(artifact, TEST)}
    if not texts:
        raise UserError("no prompt is of the split 'test'", f"preset {preset.name}", "name a --prompt")
    return [texts[prompt_id] for prompt_id in in_drawn_order(list(texts), preset.shared.seed)[:count]]


def list_rows(prompts: Sequence[str], seeds: Sequence[int]) -> list[ImageRow]:
    """Every prompt with every seed."""
    return [ImageRow(prompt, number, seed) for number, prompt in enumerate(prompts) for seed in seeds]


def draw_columns(columns: Sequence[Column], rows: Sequence[ImageRow]) -> list[list[bytes]]:
    """Column by column the rows' images as PNG files: those of `comat sample` with the same prompts and seed."""
    return [list(_drawn(column, rows)) for column in columns]


def _drawn(column: Column, rows: Sequence[ImageRow]) -> Iterator[bytes]:
    import torch

    from comat_core.backbones.adapters import active_adapter
    from stages.images.png import encode_png

    config = column.model.sampling
    with (
        torch.no_grad(),
        sampling_model(config, column.model.artifacts, config.vae) as model,
        active_adapter(model.denoiser, column.adapter),
    ):
        for batch in batches(rows, config.batch_size, f"Images, {column.label}"):
            seeds = [sample_seed(row.seed, row.number) for row in batch]
            images = decode_images(model, sample_latents(model, config, [row.prompt for row in batch], seeds))
            yield from map(encode_png, images)


def _command(*variants: Variant) -> str:
    rows = "".join(f" --row {variant.row.name}" for variant in variants)
    return f"`comat ablate {variants[0].preset}{rows} --seeds 1` with the same --set and --store"
