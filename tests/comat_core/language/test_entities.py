"""Entities of prompts: the rules of the method one by one, then how well they do on prompts with known entities."""

from typing import Any

import pytest

from comat_core.language.entities import parse_entities
from comat_core.language.entity_processes import JOBS_PER_PROCESS, parse_entities_in_processes
from comat_core.language.noun_filter import NounFilter
from comat_core.language.parsers import load_parser
from data.noun_filter import load_noun_filter
from tests.comat_core.entity_scores import f1_score
from tests.comat_core.entity_templates import gold_prompts, two_object_gold
from tests.comat_core.parsed import PARSER, entities_in, kept_in, parser, removed_in


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red circle and a striped blue square", {"circle": {"red"}, "square": {"striped", "blue"}}),
        ("a green star to the left of a white heart", {"star": {"green"}, "heart": {"white"}}),
        ("a black cross above a dotted orange triangle", {"cross": {"black"}, "triangle": {"dotted", "orange"}}),
        ("a circle that is red", {"circle": {"red"}}),
        ("a dotted square that is orange and a heart that is red", {"square": {"dotted", "orange"}, "heart": {"red"}}),
        ("a orange star", {"star": {"orange"}}),
        ("an orange on a plate", {"orange": set(), "plate": set()}),
        ("the dog is old and brown", {"dog": {"old", "brown"}}),
        ("the dog and the cat are old and brown", {"dog": {"old", "brown"}, "cat": {"old", "brown"}}),
        ("the bench and the bowl look orange", {"bench": {"orange"}, "bowl": {"orange"}}),
        ("a car, red and shiny, on a road", {"car": {"red", "shiny"}, "road": set()}),
        ("a dog that is big, brown, and fluffy", {"dog": {"big", "brown", "fluffy"}}),
        ("a purple striped hat", {"hat": {"purple", "striped"}}),
        ("a white sink and door", {"sink": {"white"}, "door": {"white"}}),
        ("a red rose and a yellow sunflower", {"rose": {"red"}, "sunflower": {"yellow"}}),
        ("a coffee table and a red vase", {"table": {"coffee"}, "vase": {"red"}}),
        ("a man riding a brown horse", {"man": set(), "horse": {"brown"}}),
        ("a woman wearing blue jeans", {"woman": set(), "jeans": {"blue"}}),
        ("a red T-shirt and a long-haired cat", {"T-shirt": {"red"}, "cat": {"long-haired"}}),
        ("A RED CIRCLE AND A BLUE SQUARE", {"CIRCLE": {"RED"}, "SQUARE": {"BLUE"}}),
        ("A Red Bench And A Blue Bowl", {"Bench": {"Red"}, "Bowl": {"Blue"}}),
        ("several very old dogs", {"dogs": {"old"}}),
        # For the tagger both are pronouns.
        ("a red bookshelf and a blue chair", {"bookshelf": {"red"}, "chair": {"blue"}}),
        ("it is on the left of them", {}),
        ("", {}),
        ("!!!", {}),
    ],
)  # fmt: skip
def test_nouns_and_their_attributes(prompt: str, expected: dict[str, set[str]]) -> None:
    assert kept_in(prompt) == expected


def test_every_noun_is_looked_at_not_only_the_first() -> None:
    assert list(kept_in("a red car, a blue bowl, a green hat and a wooden chair")) == ["car", "bowl", "hat", "chair"]


def test_spans_point_at_the_words_in_the_prompt_as_given() -> None:
    prompt = "  A  Purple\tHat\nand a caf\u00e9 table "
    for entity in entities_in(prompt):
        assert prompt[slice(*entity.noun_span)] == entity.noun
        assert tuple(prompt[slice(*span)] for span in entity.attribute_spans) == entity.attributes
    assert [entity.noun for entity in entities_in(prompt)] == ["Hat", "table"]


def test_same_word_twice_keeps_its_two_places() -> None:
    circle, square = entities_in("a red circle and a red square")
    assert circle.attributes == square.attributes == ("red",)
    assert circle.attribute_spans == ((2, 5),)
    assert square.attribute_spans == ((19, 22),)


def test_repeated_nouns_are_removed_with_the_reason() -> None:
    prompt = "a black square and a white square next to two red squares and a heart"
    assert list(kept_in(prompt)) == ["heart"]
    reasons = [entity.removed_because for entity in entities_in(prompt) if entity.removed_because]
    assert reasons == ["repeated: 3 nouns are named square"] * 3


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red circle and a blue circle", [("circle", ("red",)), ("circle", ("blue",))]),
        ("an Asian girl with an Indian girl", [("girl", ("Asian",)), ("girl", ("Indian",))]),
        ("a circle that is red above a circle that is blue", [("circle", ("red",)), ("circle", ("blue",))]),
        ("a dog, a black cat and a white cat", [("dog", ()), ("cat", ("black",)), ("cat", ("white",))]),
        ("A RED STAR AND A BLUE STAR", [("STAR", ("RED",)), ("STAR", ("BLUE",))]),
        # How many are whose is not known.
        ("two red circles and a blue circle", []),
        ("three red circles and two blue circles", []),
        # What no image region shows stays away however often it is named.
        ("a cat in the morning and a dog in the morning", [("cat", ()), ("dog", ())]),
    ],
)
def test_objects_of_one_name_stay_apart_if_asked(prompt: str, expected: list[tuple[str, tuple[str, ...]]]) -> None:
    (entities,) = parse_entities([prompt], parser(), load_noun_filter(), keep_same_nouns=True)
    kept = [entity for entity in entities if entity.removed_because is None]
    assert [(entity.noun, entity.attributes) for entity in kept] == expected
    assert len({entity.noun_span for entity in kept}) == len(kept)


def test_keeping_objects_of_one_name_changes_no_other_prompt() -> None:
    prompts = [prompt.text for prompt in gold_prompts(3, 200)]
    plain = list(parse_entities(prompts, parser(), load_noun_filter()))
    keeping = list(parse_entities(prompts, parser(), load_noun_filter(), keep_same_nouns=True))
    for one, other in zip(plain, keeping, strict=True):
        if not any("repeated" in (entity.removed_because or "") for entity in one):
            assert one == other


@pytest.mark.parametrize(
    ("prompt", "noun", "reason"),
    [
        ("a red circle to the left of a square", "left", "hard to locate: left"),
        ("a cat in the morning", "morning", "background: morning"),
        ("an atmosphere of joy", "atmosphere", "abstract: atmosphere"),
        ("two bathrooms and a cat", "bathrooms", "background: bathroom"),
        ("a group of dogs", "group", "container: group of"),
    ],
)
def test_filtered_nouns_are_removed_with_the_reason(prompt: str, noun: str, reason: str) -> None:
    assert removed_in(prompt)[noun] == reason


def test_container_nouns_are_objects_unless_they_contain() -> None:
    assert "painting" in kept_in("a painting on a wall")
    assert "painting" not in kept_in("a painting of a dog")


def test_an_empty_filter_removes_nothing_but_repetitions() -> None:
    prompts = ["a cat in the morning", "a cat and a cat"]
    kept = [
        [entity.noun for entity in entities if entity.removed_because is None]
        for entities in parse_entities(prompts, parser(), NounFilter())
    ]
    assert kept == [["cat", "morning"], []]


def test_batches_and_processes_do_not_change_the_result() -> None:
    prompts = [prompt.text for prompt in gold_prompts(seed=3, count=60)]
    one_by_one = [entities_in(prompt) for prompt in prompts]
    batched = parse_entities(prompts, parser(), load_noun_filter(), batch_size=7)
    assert list(batched) == one_by_one
    settings: dict[str, Any] = {"batch_size": 2, "process_count": 2}
    assert list(parse_entities_in_processes(prompts, PARSER, load_noun_filter(), **settings)) == one_by_one


def test_a_pipeline_forgets_words_in_few_large_calls_and_in_many_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comat_core.language.parsers.TEXTS_PER_BLOCK", 10)
    nlp = load_parser(PARSER)
    words = (f"zyx{number}" for number in range(1_000))
    for count in (4, 4, 4, 30, 1):
        prompts = [f"a {next(words)} cup" for _ in range(count)]
        list(parse_entities(prompts, nlp, NounFilter()))
    assert [f"zyx{number}" in nlp.vocab.strings for number in (0, 11, 12, 41, 42)] == [True, True, False, False, False]


def test_processes_stop_when_nobody_reads_on() -> None:
    taken = iter(gold_prompts(seed=3, count=10_000))
    texts = (prompt.text for prompt in taken)
    parsed = parse_entities_in_processes(texts, PARSER, load_noun_filter(), batch_size=2, process_count=2)
    next(parsed)
    parsed.close()
    assert len(list(taken)) >= 10_000 - 2 * JOBS_PER_PROCESS * 2


def test_f1_on_prompts_with_known_entities() -> None:
    assert f1_score(list(gold_prompts(seed=2024, count=700))) >= 0.93


def test_f1_on_two_object_prompts() -> None:
    prompts = list(two_object_gold(seed=7, count=300))
    assert f1_score(prompts) >= 0.95
