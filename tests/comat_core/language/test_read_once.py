"""Prompts that come again are not parsed again."""

from comat_core.language.counterfactuals import counterfactuals
from comat_core.language.read_once import read_once
from data.noun_filter import load_noun_filter
from tests.comat_core.parsed import parser


def test_a_prompt_is_parsed_once_while_it_is_remembered() -> None:
    parsed: list[str] = []

    class Counted:
        def __call__(self, text: str) -> object:
            parsed.append(text)
            return parser()(text)

    find = read_once(counterfactuals, Counted(), load_noun_filter(), remembered=1)  # type: ignore[arg-type]
    assert find("a green star") == find("a green star") == ("green stars",)
    assert parsed == ["a green star"]
    assert find("a red dog") == ("red dogs",) and find("a green star") == ("green stars",)
    assert parsed == ["a green star", "a red dog", "a green star"]
