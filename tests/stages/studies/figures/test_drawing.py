"""The sheets: what lies where, texts as they are written, and files that are the same bytes every time."""

import io
import re
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from comat_core.support.errors import UserError
from stages.attention.recording import SIDE
from stages.attention.words import Word
from stages.studies.figures.drawing import attention as attention_module
from stages.studies.figures.drawing import image_rows as rows_module
from stages.studies.figures.drawing.attention import MAPS_IN_LINE, AttentionPanel, draw_attention
from stages.studies.figures.drawing.image_rows import draw_image_rows
from stages.studies.figures.drawing.lettering import NORMAL, cut_to, in_lines, width_of
from stages.studies.figures.drawing.sheet import DOTS_PER_INCH, GAP, MARGIN, Sheet, drawing_style
from stages.studies.figures.variants import ImageRow
from stages.studies.figures.word_shares import shares_of_words
from tests.stages.fake_run import flat_png
from tests.stages.studies.figures.shown import COLOURS, PARSED, activations, shown_prompt

HOSTILE = r"a $\frac{1}$ for 5$ and 6$, 100% {curly} \undefined ^_ & #1"


def panel(**changes: Any) -> AttentionPanel:
    prompt = shown_prompt(**changes)
    return AttentionPanel(prompt, shares_of_words(prompt.words, prompt.recordings))


def attention_files(*panels: AttentionPanel) -> dict[str, bytes]:
    with drawing_style():
        return draw_attention(panels or (panel(),)).as_files()


def pictures(sheet: Sheet) -> list[Any]:
    return [axes for axes in sheet.figure.axes if axes.images]


def bars(sheet: Sheet) -> list[Any]:
    return [axes for axes in sheet.figure.axes if axes.patches]


def texts(sheet: Sheet) -> list[str]:
    return [text.get_text() for text in sheet.figure.texts]


def pixel(files: dict[str, bytes], left: float, top: float) -> tuple[int, ...]:
    """Colour of the PNG at a place in inches."""
    image = Image.open(io.BytesIO(files[".png"])).convert("RGB")
    colour = image.getpixel((int(left * DOTS_PER_INCH), int(top * DOTS_PER_INCH)))
    assert isinstance(colour, tuple)
    return colour


class TestAttention:
    def test_each_model_has_its_image_and_a_map_per_word_and_the_words_their_bars(self) -> None:
        with drawing_style():
            sheet = draw_attention([panel(), panel(words=PARSED[:2], seed=4)])
        assert len(pictures(sheet)) == 2 * (1 + 4) + 2 * (1 + 2)
        assert len(bars(sheet)) == 2
        assert {"a red circle and a blue square", "a red circle and a blue square (seed 4)"} <= set(texts(sheet))
        assert texts(sheet).count("circle") == 2
        assert texts(sheet).count("CoMat") == texts(sheet).count("base model") == 2

    def test_bars_are_as_long_as_the_words_shares(self) -> None:
        with drawing_style():
            (axes,) = bars(draw_attention([panel()]))
        drawn = [patch.get_width() for patch in axes.patches]
        expected = [100 * activations(model)[word.tokens[0]] for model in COLOURS for word in PARSED]
        assert drawn == pytest.approx(expected)
        assert [tick.get_text() for tick in axes.get_yticklabels()] == ["red", "circle", "blue", "square"]
        top, bottom = axes.patches[0], axes.patches[3]
        assert top.get_y() < bottom.get_y()
        assert axes.yaxis_inverted(), "the prompt is read from above"

    def test_both_maps_of_a_word_have_one_scale(self) -> None:
        with drawing_style():
            sheet = draw_attention([panel()])
        assert [text for text in texts(sheet) if text.startswith("0 to")] == [f"0 to {2 * n} %" for n in range(1, 5)]
        base, tuned = [image for axes in pictures(sheet) if (image := axes.images[0].get_array()).shape[0] == SIDE][:2]
        assert tuned.mean() > base.mean(), "the weaker map is the darker one"

    def test_png_shows_the_images_where_they_belong(self) -> None:
        files = attention_files()
        image = Image.open(io.BytesIO(files[".png"]))
        with drawing_style():
            sheet = draw_attention([panel()])
        assert image.size == (int(sheet.width * DOTS_PER_INCH), int(sheet.height * DOTS_PER_INCH))
        cell, label = attention_module.CELL, attention_module.LABEL
        middle = MARGIN + label + cell / 2
        bottom = sheet.height - MARGIN
        tuned = bottom - GAP - cell / 2
        assert pixel(files, middle, tuned) == COLOURS["tuned"]
        assert pixel(files, middle, tuned - cell - GAP) == COLOURS["base"]

    def test_many_words_stand_in_several_lines(self) -> None:
        words = [Word(f"word{number}", "noun", [number]) for number in range(MAPS_IN_LINE + 2)]
        with drawing_style():
            wide, one = draw_attention([panel(words=words)]), draw_attention([panel(words=words[:MAPS_IN_LINE])])
        assert len(pictures(wide)) == 2 * (1 + len(words))
        assert wide.width == pytest.approx(one.width)
        assert wide.height > one.height + 2 * attention_module.CELL

    def test_masks_are_outlined_and_what_is_not_found_is_said(self) -> None:
        there, nowhere = np.zeros((16, 16), dtype=bool), np.zeros((16, 16), dtype=bool)
        there[:8] = True
        plain = panel()
        masks = {"base": [there, there, nowhere, None], "tuned": [there, ~nowhere, there, None]}
        with drawing_style():
            sheet = draw_attention([AttentionPanel(plain.prompt, plain.shares, masks)])
        notes = [text.get_text() for axes in pictures(sheet) for text in axes.texts]
        assert sorted(notes) == sorted(["50 % inside"] * 4 + ["100 % inside", "not found"])
        assert sum(bool(axes.collections) for axes in pictures(sheet)) == 5

    def test_too_many_prompts_are_told_before_anything_is_drawn(self) -> None:
        with drawing_style(), pytest.raises(UserError, match=r"the figure is too large .*show fewer prompts"):
            draw_attention([panel()] * 200)


class TestImageRows:
    LABELS = ("base model", "a training of a long and telling name")

    def draw(self, *rows: ImageRow) -> Sheet:
        colours = [[(40 * row, 100, 30 * column) for row in range(len(rows))] for column in range(len(self.LABELS))]
        with drawing_style():
            return draw_image_rows(self.LABELS, rows, [[flat_png(one) for one in column] for column in colours])

    def test_a_row_is_one_prompt_and_a_column_one_model(self) -> None:
        sheet = self.draw(ImageRow("a star", 0, 0), ImageRow("a heart", 1, 0), ImageRow("a disc", 2, 0))
        with drawing_style():
            files = sheet.as_files()
        assert len(sheet.figure.axes) == len(pictures(sheet)) == 6
        cell = rows_module.CELL
        pitch = sheet.height - MARGIN - cell / 2
        assert pixel(files, MARGIN + cell / 2, pitch) == (80, 100, 0)
        assert pixel(files, MARGIN + cell + GAP + cell / 2, pitch) == (80, 100, 30)
        assert [text for text in texts(sheet) if text.startswith("a ") and "training" not in text] == [
            "a star",
            "a heart",
            "a disc",
        ]

    def test_seeds_are_named_where_there_are_several(self) -> None:
        sheet = self.draw(ImageRow("a star", 0, 3), ImageRow("a star", 0, 8))
        assert {"a star (seed 3)", "a star (seed 8)"} <= set(texts(sheet))


class TestTexts:
    def test_prompts_are_shown_as_they_are_written(self) -> None:
        with drawing_style():
            sheet = draw_attention([panel(text=HOSTILE)])
            sheet.as_files()
        assert " ".join(texts(sheet)).count(HOSTILE) == 1
        assert all(not text.get_parse_math() for text in sheet.figure.texts)

    def test_words_of_bars_are_shown_as_they_are_written(self) -> None:
        words = [Word("$x^2$", "chosen", [1]), Word(r"$\frac{$", "chosen", [2])]
        with drawing_style():
            sheet = draw_attention([panel(words=words)])
            sheet.as_files()
            (axes,) = bars(sheet)
        assert [tick.get_text() for tick in axes.get_yticklabels()] == ["$x^2$", r"$\frac{$"]
        assert all(not tick.get_parse_math() for tick in axes.get_yticklabels())

    def test_lines_end_where_the_room_does(self) -> None:
        text = "several words, and " + "a" * 60 + " one without an end\tand\x00 controls"
        lines = in_lines(text, 1.5, NORMAL)
        assert max(width_of(line, NORMAL) for line in lines) <= 1.5
        assert "".join(lines).replace(" ", "") == re.sub(r"[\s\x00]", "", text)

    def test_a_text_that_is_cut_ends_in_dots(self) -> None:
        assert cut_to("short", 1.0, NORMAL) == "short"
        cut = cut_to("a" * 50, 1.0, NORMAL)
        assert cut.endswith("…")
        assert width_of(cut, NORMAL) <= 1.0

    def test_characters_that_the_font_lacks_are_told_in_one_line(
        self, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
    ) -> None:
        attention_files(panel(text="a 猫 and a star"))
        told = [record.getMessage() for record in caplog.records]
        assert told == ["the font DejaVu Sans has no 猫: drawn as boxes"]
        assert not [one for one in recwarn if "Glyph" in str(one.message)]


class TestFiles:
    def test_the_same_figure_is_the_same_bytes_whatever_the_users_own_style(self) -> None:
        first = attention_files()
        with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 20, "pdf.compression": 0}):
            assert attention_files() == first

    def test_files_hold_their_fonts_and_no_dates(self) -> None:
        files = attention_files()
        pdf = files[".pdf"]
        assert pdf.startswith(b"%PDF-")
        assert b"/FontFile2" in pdf
        for dated in (b"CreationDate", b"ModDate", b"Matplotlib", b"matplotlib"):
            assert dated not in pdf
            assert dated not in files[".png"]

    def test_the_users_style_is_put_back(self) -> None:
        before = dict(matplotlib.rcParams)
        attention_files()
        assert dict(matplotlib.rcParams) == before
