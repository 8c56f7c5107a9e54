"""`comat figure`: the paper's figures 2, 5, 6 and 7 of a preset's run, as PNG and PDF."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comat_core.files.whole_files import write_whole
from comat_core.support.errors import UserError
from flows.command_line.arguments import add_command, add_preset, positive
from flows.command_line.presets_and_stores import existing_store, named_preset
from flows.command_line.prompts import given_prompts
from flows.messages import logger, show_messages
from stages.entities import EntitiesConfig, load_layout
from stages.plan.presets import Preset
from stages.store.file_names import fitting_name
from stages.store.local_disk import OUTPUT_ADVICE, check_output_file, disk_errors_told
from stages.store.store import Store
from stages.studies.figures.drawing.attention import AttentionPanel, draw_attention
from stages.studies.figures.drawing.image_rows import draw_image_rows
from stages.studies.figures.drawing.sheet import Sheet, drawing_style
from stages.studies.figures.entity_masks import find_masks
from stages.studies.figures.shown_prompts import ShownPrompt, note_prompts, prompts_of_run, record_prompts
from stages.studies.figures.variants import draw_columns, find_columns, held_out_prompts, list_rows, variants_of
from stages.studies.figures.word_shares import shares_of_prompt, shares_of_words
from stages.train.config import TrainConfig
from stages.tuned.comparison import word_finder
from stages.tuned.tuned_model import find_tuned_model

if TYPE_CHECKING:
    from comat_core.segmenters.protocol import Segmenter

ENDINGS = (".png", ".pdf")
PROMPTS = 4


def add_to(parsers: Any) -> None:
    summary = "draw the paper's figures of a preset's run"
    figures = parsers.add_parser("figure", help=summary, allow_abbrev=False).add_subparsers(
        title="figures", required=True, metavar="FIGURE"
    )
    _add_attention(figures)
    _add_rows(figures, "parts", "draw images of trainings with more and more of the losses (Figure 5)")
    _add_rows(figures, "fidelity", "draw images of trainings without and with fidelity preservation (Figure 7)")


def _add_attention(figures: Any) -> None:
    summary = "draw where the words of prompts look, before and after (Figures 2 and 6)"
    command = _add_figure(figures, "attention", attention, summary, "prompts that the run has recorded")
    command.add_argument(
        "--word", action="append", default=[], metavar="TEXT", help="of a --prompt: show this word, not the parser's"
    )
    command.add_argument("--masks", action="store_true", help="outline the words' objects, found by the segmenter")


def _add_rows(figures: Any, name: str, summary: str) -> None:
    command = _add_figure(figures, name, image_rows, summary, "held-out prompts, drawn by the run's seed")
    command.set_defaults(figure=name)
    command.add_argument(
        "--variant", action="append", default=[], metavar="NAME", help="a row of `comat ablate`, for another column"
    )


def _add_figure(
    figures: Any, name: str, command: Callable[[argparse.Namespace], int], summary: str, prompts: str
) -> argparse.ArgumentParser:
    parser = add_command(figures, name, command, summary)
    add_preset(parser)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="what to draw; again for another")
    chosen.add_argument(
        "--prompts", type=positive, default=PROMPTS, metavar="N", help=f"{prompts} (default: {PROMPTS})"
    )
    parser.add_argument(
        "--seed",
        action="append",
        type=int,
        default=[],
        metavar="N",
        help="of the noise; again for more (default: 0)",
    )
    parser.add_argument("--output", metavar="FILE", help=f"FILE.png and FILE.pdf (default: PRESET-{name})")
    return parser


def attention(options: argparse.Namespace) -> int:
    """Draw maps and bars of some prompts by both models, and print the files' paths."""
    preset, store, outputs = _begin(options, "attention")
    entities = preset.sections.get("entities")
    if not isinstance(entities, EntitiesConfig):
        raise UserError("the preset parses no prompts", f"preset {preset.name}", "choose one with entities")
    segmenter = _segmenter(preset) if options.masks else None
    layout = load_layout(entities.base)
    if options.prompt:
        tuned = find_tuned_model(preset, store)
        noted = note_prompts(given_prompts(options), word_finder(entities), layout, options.word)
        prompts = record_prompts(tuned, noted, _seeds(options))
    elif options.word or options.seed:
        where = "--word" if options.word else "--seed"
        raise UserError("the run's recorded prompts have words and noise of their own", where, "name a --prompt")
    else:
        prompts = prompts_of_run(preset, store, options.preset, options.prompts)

    def panel(prompt: ShownPrompt) -> AttentionPanel:
        shares = (
            shares_of_words(prompt.words, prompt.recordings)
            if options.word
            else shares_of_prompt(layout, prompt.text, prompt.words, prompt.recordings)
        )
        return AttentionPanel(prompt, shares, find_masks(segmenter, prompt) if segmenter is not None else {})

    with drawing_style():
        _write(draw_attention([panel(prompt) for prompt in prompts]), outputs)
    return 0


def image_rows(options: argparse.Namespace) -> int:
    """Draw a column of images by each trained variant that the store holds, and print the files' paths."""
    preset, store, outputs = _begin(options, options.figure)
    variants = variants_of(options.figure, options.variant, options.preset, options.settings)
    columns, missing = find_columns(variants, store)
    prompts = given_prompts(options) or held_out_prompts(preset, store, options.preset, options.prompts)
    for line in missing:
        logger.warning(line)
    rows = list_rows(prompts, _seeds(options))
    images = draw_columns(columns, rows)
    with drawing_style():
        _write(draw_image_rows([column.label for column in columns], rows, images), outputs)
    return 0


def _begin(options: argparse.Namespace, figure: str) -> tuple[Preset, Store, list[Path]]:
    """The preset, the store, and where the figure will be: whatever is wrong with these is told first."""
    show_messages()
    preset, store = named_preset(options), existing_store(options)
    output = Path(options.output or fitting_name(preset.name, f"-{figure}"))
    if output.suffix.lower() in ENDINGS:
        output = output.with_suffix("")
    outputs = [output.with_name(fitting_name(output.name, ending)) for ending in ENDINGS]
    for file in outputs:
        check_output_file("figure", file)
    return preset, store, outputs


def _seeds(options: argparse.Namespace) -> list[int]:
    return list(dict.fromkeys(options.seed)) or [0]


def _segmenter(preset: Preset) -> "Segmenter":
    from stages.models.devices import choose_device

    train = preset.sections.get("train")
    if not isinstance(train, TrainConfig) or train.segmenter is None:
        problem = "the preset names no segmenter to find the objects with"
        raise UserError(problem, f"preset {preset.name}", "give it models.segmenter, or leave --masks out")
    return train.segmentation.load(train.segmenter, device=choose_device("auto"))


def _write(sheet: Sheet, outputs: list[Path]) -> None:
    files = sheet.as_files()
    for output in outputs:
        with disk_errors_told("figure", output, OUTPUT_ADVICE):
            output.parent.mkdir(parents=True, exist_ok=True)
            write_whole(output, files[output.suffix])
        print(output)
