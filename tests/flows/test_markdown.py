"""Whatever a prompt holds, Markdown shows it and does nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from flows.markdown import escape, link_target, without_markup

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
PARTS = [*"ab 1.-+=#*_`~[]()<>!|\\&;:/@\n\t\"'", "https://", "www.", "&lt;", "&#33;", "```", "---", "![](x)"]
MARKUP = st.lists(st.sampled_from(PARTS), max_size=20).map("".join)


def kinds_and_text(markdown: str) -> tuple[set[str], str]:
    """Kinds of the tokens that are no mere text, and the text that a reader sees."""
    kinds, text = set(), ""
    for block in PARSER.parse(markdown):
        for token in block.children or [block]:
            if token.type in ("text", "text_special"):
                text += token.content
            elif token.type not in ("paragraph_open", "paragraph_close", "inline"):
                kinds.add(token.type)
    return kinds, text


@given(MARKUP)
def test_text_is_shown_as_it_is(text: str) -> None:
    assert kinds_and_text(escape(text)) == (set(), " ".join(text.split()))


@given(MARKUP)
def test_a_cell_stays_one_cell(text: str) -> None:
    kinds, shown = kinds_and_text(f"| prompt | base |\n| --- | --- |\n| {escape(text)} | {escape('x')} |")
    assert {kind for kind in kinds if not kind.startswith(("table", "thead", "tbody", "tr_", "th_", "td_"))} == set()
    assert shown == "promptbase" + " ".join(text.split()) + "x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("![](https://evil.example/pixel.png)", r"!\[\](https\://evil.example/pixel.png)"),
        ("<img src=x onerror=alert(1)>", r"\<img src=x onerror=alert(1)\>"),
        ("see www.evil.example", r"see www\.evil.example"),
        ("- [x] done", r"\- \[x\] done"),
        ("a&lt;b", r"a\&lt;b"),
        (
            "runs/images_base/4b54: a cat-like dog, 3.5 m & more!",
            "runs/images_base/4b54: a cat-like dog, 3.5 m & more!",
        ),
    ],
)
def test_only_what_means_something_is_escaped(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_tables_stay_tables_without_what_stands_in_them() -> None:
    table = "| source | kept |\n| --- | ---: |\n| ![](http://x) | 3 |"
    kinds, shown = kinds_and_text("\n".join(without_markup(line) for line in table.splitlines()))
    assert "image" not in kinds
    assert "table_open" in kinds
    assert shown == "sourcekept![](http://x)3"


def test_a_link_ends_where_it_should() -> None:
    target = link_target("s3://my (store)/report> ![](x)/report.html")
    tokens = PARSER.parseInline(f"[Report]({target})")[0].children or []
    (link,) = [token for token in tokens if token.type == "link_open"]
    assert link.attrs["href"] == "s3://my%20%28store%29/report%3E%20!%5B%5D%28x%29/report.html"
