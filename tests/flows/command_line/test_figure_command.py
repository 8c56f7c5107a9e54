"""`comat figure`: PNG and PDF of a run, with the shipped miniature models and LoRAs of random weights."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comat_core.backbones.adapters import active_adapter
from comat_core.support.errors import UserError
from flows.command_line.cli import main
from flows.command_line.commands import figure
from stages.attention.tables import write_recordings
from stages.attention.words import ChosenPrompt
from stages.images.png import decode_png
from stages.plan.pipeline import make_plan
from stages.plan.presets import load_preset
from stages.sampling import sampling_model
from stages.store.store import Store
from stages.studies.figures.drawing.attention import AttentionPanel
from stages.studies.figures.drawing.sheet import Sheet
from stages.studies.figures.shown_prompts import prompts_of_run
from stages.studies.figures.variants import variants_of
from stages.tuned.comparison import MODELS, sample_seed
from stages.tuned.tuned_model import find_tuned_model
from tests.flows.conftest import ROOT
from tests.flows.test_bad_input import fails_with
from tests.random_loras import save_random_lora
from tests.scaled_down import ARGUMENTS
from tests.stages.fake_run import make_artifact, prompts_table
from tests.stages.studies.figures.shown import COLOURS, PARSED, PROMPT, recording

SETTINGS = ("images.sampling.num_inference_steps=2",)
OTHER = "a $green$ star"
QUICK = ("--set", SETTINGS[0])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with prompts, two trainings and recorded attention."""
    folder = tmp_path_factory.mktemp("figures")
    place = Store(str(folder / "store"))
    place.mark()
    plan = make_plan(load_preset("miniature", SETTINGS).sections)
    for seed, variant in enumerate(variants_of("parts", (), "miniature", SETTINGS)):
        lora = save_random_lora(ROOT / "data/miniature/base", folder / f"lora{seed}", scale=0.3, seed=seed)
        make_artifact(place, "train", key=variant.plan.by_name["train"].key, folder=lora)
    rows = [("p0", PROMPT, "colour", "test"), ("p1", OTHER, "colour", "test")]
    tables = {"prompts.parquet": prompts_table(rows)}
    make_artifact(place, "prompts", key=plan.by_name["prompts"].key, tables=tables)
    prompts = [ChosenPrompt("p0", PROMPT, PARSED), ChosenPrompt("p1", OTHER, PARSED[:2])]
    for model in COLOURS:
        writer = place.writer("attention", plan.by_name[f"attention.{model}"].key, {"version": 1, "config": {}}, {})
        write_recordings(writer, 0, prompts, [recording(model, 4), recording(model, 2)])
        writer.finish()
    return place


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[Sheet]:
    """What the command draws."""
    drawn: list[Sheet] = []
    write = figure._write

    def write_and_keep(sheet: Sheet, outputs: list[Path]) -> None:
        drawn.append(sheet)
        write(sheet, outputs)

    monkeypatch.setattr(figure, "_write", write_and_keep)
    return drawn


def draw(capsys: pytest.CaptureFixture[str], store: Store, output: Path, *arguments: str) -> tuple[Image.Image, str]:
    """Run a command, and return the PNG it has written with what it said on standard error."""
    command = ["figure", arguments[0], "miniature", *QUICK, "--store", store.url, "--output", str(output)]
    assert main([*command, *arguments[1:]]) == 0
    captured = capsys.readouterr()
    png, pdf = output.with_name(f"{output.name}.png"), output.with_name(f"{output.name}.pdf")
    assert captured.out == f"{png}\n{pdf}\n"
    assert pdf.read_bytes().startswith(b"%PDF-")
    return Image.open(io.BytesIO(png.read_bytes())), captured.err


def pictures(sheet: Sheet) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in sheet.figure.axes if axes.images]


def test_attention_of_a_run_shows_its_recorded_prompts_images_maps_and_shares(
    capsys: pytest.CaptureFixture[str], store: Store, sheets: list[Sheet], tmp_path: Path
) -> None:
    image, _ = draw(capsys, store, tmp_path / "all", "attention")
    (sheet,) = sheets
    assert image.size == (int(sheet.width * 300), int(sheet.height * 300))
    assert len(pictures(sheet)) == 2 * (1 + 4) + 2 * (1 + 2)
    first, second = [axes for axes in sheet.figure.axes if axes.patches]
    rectangles: Any = first.patches
    drawn = [patch.get_width() for patch in rectangles]
    # a start token, then "a red circle and a blue square", a token each
    expected = [100 * recording(model, 4).activations[token] for model in COLOURS for token in range(1, 8)]
    assert drawn == pytest.approx(expected, rel=1e-5)
    assert [tick.get_text() for tick in second.get_yticklabels()] == ["a", "green", "star"]
    draw(capsys, store, tmp_path / "one", "attention", "--prompts", "1")
    assert len(pictures(sheets[1])) == 2 * (1 + 4)


def test_a_prompt_of_ones_own_is_recorded_anew_by_both_models(
    capsys: pytest.CaptureFixture[str],
    store: Store,
    sheets: list[Sheet],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    panels: list[AttentionPanel] = []

    def keep(found: list[AttentionPanel]) -> Sheet:
        panels.extend(found)
        return draw_attention(found)

    draw_attention = figure.draw_attention
    monkeypatch.setattr(figure, "draw_attention", keep)
    arguments = ["attention", "--prompt", OTHER, "--prompt", PROMPT, "--seed", "5"]
    draw(capsys, store, tmp_path / "own", *arguments)
    assert [[word.text for word in panel.prompt.words] for panel in panels][1] == ["red", "circle", "blue", "square"]
    for panel in panels:
        _check_against_the_model(panel, store)
    # The same command, once more: the same files.
    draw(capsys, store, tmp_path / "again", *arguments)
    for ending in (".png", ".pdf"):
        assert (tmp_path / f"own{ending}").read_bytes() == (tmp_path / f"again{ending}").read_bytes()
    assert len(sheets) == 2


def _check_against_the_model(panel: AttentionPanel, store: Store) -> None:
    """Compare images and bars with what the model itself gives: layers and steps captured and averaged here."""
    import torch

    from comat_core.backbones.attention_maps import CaptureRequest
    from stages.sampling import sample

    tuned = find_tuned_model(load_preset("miniature", SETTINGS), store)
    text = panel.prompt.text
    number = [OTHER, PROMPT].index(text)
    with torch.no_grad(), sampling_model(tuned.sampling, tuned.artifacts, tuned.sampling.vae) as model:
        tokenizer: Any = model.text_layout().tokenizers[0][0]
        for name, adapter in MODELS.items():
            with active_adapter(model.denoiser, adapter):
                result = sample(model, tuned.sampling, [text], [sample_seed(5, number)], CaptureRequest([0, 1]))
                drawn = model.decode(result.latents)[0].clamp(0, 1)
            shown = torch.from_numpy(np.array(decode_png(panel.prompt.recordings[name].png))).permute(2, 0, 1) / 255
            torch.testing.assert_close(shown, drawn, atol=2 / 255, rtol=0)
            layers = [layer[0].double().mean(dim=(0, 1)) for step in result.attention_maps for layer in step.values()]
            means: Any = sum(layers) / len(layers)
            assert len(layers) > 2
            tokens = [tokenizer.decode([one]).strip() for one in tokenizer(text).input_ids]
            once = {share.text: share for share in panel.shares if tokens.count(share.text) == 1}
            assert {"star"} <= set(once) or {"red", "circle", "and", "blue", "square"} <= set(once)
            for word, share in once.items():
                assert share.by_model[name] == pytest.approx(float(means[tokens.index(word)]), rel=1e-3)


def test_chosen_words_have_maps_and_bars_of_their_own(
    capsys: pytest.CaptureFixture[str], store: Store, sheets: list[Sheet], tmp_path: Path
) -> None:
    words = ["--word", "and", "--word", "blue square", "--word", "red"]
    draw(capsys, store, tmp_path / "words", "attention", "--prompt", PROMPT, *words, "--masks")
    (sheet,) = sheets
    assert len(pictures(sheet)) == 2 * (1 + 3)
    (axes,) = [axes for axes in sheet.figure.axes if axes.patches]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["and", "blue square", "red"]
    notes = [text.get_text() for axes in sheet.figure.axes if axes.images for text in axes.texts]
    assert len(notes) == 2, "of the three, red alone belongs to one object"


def test_parts_has_a_column_per_training_and_the_same_noise_in_a_row(
    capsys: pytest.CaptureFixture[str], store: Store, sheets: list[Sheet], tmp_path: Path
) -> None:
    png = tmp_path / "sample.png"
    sample = ["sample", "miniature", *QUICK, "--store", store.url, "--output", str(png), "--compare", "--seed", "3"]
    assert main([*sample, "--prompt", PROMPT, "--prompt", OTHER]) == 0
    capsys.readouterr()
    arguments = ["parts", "--prompt", PROMPT, "--prompt", OTHER, "--seed", "3"]
    _, said = draw(capsys, store, tmp_path / "parts", *arguments)
    assert "not trained here" not in said
    drawn = pictures(sheets[0])
    assert len(drawn) == 2 * 3
    compared = np.asarray(Image.open(png)).astype(int)
    side = drawn[0].shape[0]
    for row in range(2):
        base, activation, whole = drawn[3 * row : 3 * row + 3]
        for column, image in ((0, base), (1, whole)):
            cell = compared[row * side : (row + 1) * side, column * side : (column + 1) * side]
            assert np.abs(cell - image).max() <= 2, "what `comat sample` draws"
        assert np.abs(activation.astype(int) - whole).max() > 8
        assert np.abs(base.astype(int) - whole).max() > 8


def test_fidelity_shows_what_there_is_and_names_the_command_for_the_rest(
    capsys: pytest.CaptureFixture[str], store: Store, sheets: list[Sheet], tmp_path: Path
) -> None:
    variants = ["--variant", "no_discriminator", "--variant", "activation_concentration"]
    _, said = draw(capsys, store, tmp_path / "fidelity", "fidelity", *variants, "--seed", "1", "--seed", "2")
    assert len(pictures(sheets[0])) == 2 * 2 * 2, "two held-out prompts, two seeds, two models"
    (line,) = [line for line in said.splitlines() if "not trained here" in line]
    assert "no discriminator is not trained here: run `comat ablate miniature --row no_discriminator" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fidelity"], "the store holds none of the figure's trainings"),
        (["parts", "--variant", "gti"], "unknown variant 'gti' (--variant)"),
        (["parts", "--prompt", " "], "a prompt is empty"),
        (["parts", "--prompts", "0"], "0 is not 1 or more"),
        (["parts", "--prompts", "2", "--prompt", "a"], "not allowed with argument"),
        (["attention", "--word", "red"], "have words and noise of their own (--word): name a --prompt"),
        (["attention", "--seed", "1"], "have words and noise of their own (--seed): name a --prompt"),
        (["attention", "--prompt", "above and below"], "names no object that the parser finds (above and below)"),
        (["attention", "--prompt", PROMPT, "--word", "moon"], "the prompt has none of the words"),
        (["attention", "--prompt", PROMPT, "--word", "red", "--word", "moon"], "no prompt has the word 'moon'"),
        (["attention", "--masks", "--set", "models.segmenter=null"], "segmenter"),
        (["attention", "--set", "attention.examples=3"], "run `comat run miniature --only attention.base`"),
        (["attention", "--output", "store"], "the output is a folder"),
        (["legs"], "invalid choice: 'legs'"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(
    arguments: list[str],
    message: str,
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store.pdf").mkdir()
    line = fails_with(capsys, "figure", arguments[0], "miniature", *QUICK, "--store", store.url, *arguments[1:])
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["store.pdf"]


def test_a_store_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("attention", "parts", "fidelity"):
        line = fails_with(capsys, "figure", name, "miniature", "--store", str(tmp_path / "nowhere"))
        assert "there is no store" in line


@pytest.mark.parametrize(("given", "written"), [("a.png", "a"), ("a.PDF", "a"), ("v1.5", "v1.5"), ("new/a", "new/a")])
def test_an_ending_may_be_given_or_not(
    given: str, written: str, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["figure", "attention", "miniature", *QUICK, "--store", store.url, "--output", str(tmp_path / given)]
    assert main([*command, "--prompts", "1"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / written}.png\n{tmp_path / written}.pdf\n"


def test_presets_and_runs_without_recorded_attention_are_told(tmp_path: Path) -> None:
    place = Store(str(tmp_path / "store"))
    preset = load_preset("miniature", SETTINGS)
    for model in COLOURS:
        key = make_plan(preset.sections).by_name[f"attention.{model}"].key
        make_artifact(place, "attention", key=key)
    with pytest.raises(UserError, match=r"has recorded no prompt's attention .*: name a --prompt"):
        prompts_of_run(preset, place, "miniature", 4)
    sections = {name: section for name, section in preset.sections.items() if name != "attention"}
    with pytest.raises(UserError, match=r"the preset records no attention .*: name a --prompt"):
        prompts_of_run(preset.model_copy(update={"sections": sections}), place, "miniature", 4)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_url")
def test_figures_of_a_run_of_the_real_dag(
    capsys: pytest.CaptureFixture[str], sheets: list[Sheet], tmp_path: Path
) -> None:
    preset = ["miniature", *ARGUMENTS, "--set", "train.steps=2", "--set", "attention.examples=2"]
    preset += ["--set", f"train.tracking.folder={tmp_path / 'logs'}", "--store", str(tmp_path / "store")]
    assert main(["run", *preset, "--only", "attention.base", "--only", "attention.tuned"]) == 0
    assert main(["run", *preset, "--only", "train", *_settings_of("activation")]) == 0
    capsys.readouterr()
    for name in ("attention", "parts"):
        assert main(["figure", name, *preset, "--output", str(tmp_path / name)]) == 0
        assert "not trained here" not in capsys.readouterr().err
        assert Image.open(tmp_path / f"{name}.png").size[0] > 500
    attention, parts = sheets
    assert len([axes for axes in attention.figure.axes if axes.patches]) == 2
    assert len(pictures(parts)) == 4 * 3


def _settings_of(row: str) -> list[str]:
    (variant,) = variants_of("parts", [row], "miniature", ())
    return [argument for setting in variant.settings for argument in ("--set", setting)]
