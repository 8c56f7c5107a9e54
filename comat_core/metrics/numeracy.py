"""T2I-CompBench++'s numeracy: is each object that the prompt counts there, and as many times as it says?

Modes. "official" repeats the authors' script: objects of the benchmark's list that stand right behind a number word,
called by the official detector's words for them, so that boys and women are all persons and count together.
"corrected" lets describing words stand between the two, reads all numbers ("three hundred", "a dozen", "12") but what
fixes none ("a few", "two or three"), and counts every noun under its own name.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from comat_core.metrics.spatial import Detection, Mode

if TYPE_CHECKING:
    from spacy.tokens import Doc, Token

NUMBERS: Final = {
    "a": 1,
    "an": 1,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
}
"""The numbers that the official script knows."""

_NOUNS: Final = (
    "airplane apple backpack bag balloon banana bear bee bicycle bird boat book bottle bowl boy bread butterfly cake"
    " camel camera candle car cat chair chicken clock computer couch cow cup deer desk dog drum duck egg fish flag frog"
    " giraffe girl goldfish guitar hamburger helicopter helmet horse key kite knife lamp lemon man microphone microwave"
    " mouse paddle painting peach pear pen person phone pig pillow plate printer rabbit refrigerator sheep ship shrimp"
    " sink sofa stool strawberry suitcase swan table television tent tomato toy train truck turtle vase woman"
)
COUNTED_NOUNS: Final = frozenset(_NOUNS.split())
"""The objects that the benchmark's prompts count."""

DETECTOR_WORDS: Final = {
    "boy": "person",
    "girl": "person",
    "man": "person",
    "woman": "person",
    "ship": "boat",
    "goldfish": "fish",
    "painting": "picture",
}
"""What the official script looks for in place of an object."""

SAME_OBJECT: Final = 0.9
"""Share of the union, or of either box, that two boxes of one label must have in common to be one object."""


@dataclass(frozen=True)
class CountedNoun:
    """An object of a prompt, in the singular, and how many of it the prompt names."""

    noun: str
    count: int


def read_counts(doc: "Doc", mode: Mode = "corrected", nouns: Collection[str] = COUNTED_NOUNS) -> list[CountedNoun]:
    """The objects that a parsed prompt counts, in its order.

    Args:
        nouns: the objects to look for, in the singular and lower case.
    """
    from comat_core.language.grammar.grammatical_number import plural_of
    from comat_core.language.grammar.number_words import counted_words

    singular = {plural_of(noun): noun for noun in nouns} | {noun: noun for noun in nouns}
    found = []
    for number, heads in _counted_officially(doc) if mode == "official" else counted_words(doc):
        words = [head.text if mode == "official" else head.lower_ for head in heads]
        noun = next((singular[word] for word in words if word in singular), None)
        if noun is not None:
            found.append(CountedNoun(noun, number))
    return found


def _counted_officially(doc: "Doc") -> "Iterator[tuple[int, list[Token]]]":
    """Number words and the word right behind each."""
    for token in doc:
        if token.text in NUMBERS and token.i + 1 < len(doc):
            yield NUMBERS[token.text], [token.nbor()]


def detector_word(noun: str, mode: Mode) -> str:
    """What the detector is asked for."""
    return DETECTOR_WORDS.get(noun, noun) if mode == "official" else noun


def distinct_objects(detections: Sequence[Detection]) -> list[Detection]:
    """Leave out boxes that cover nearly the same as an earlier box of their label.

    Args:
        detections: surest first, corners in pixels of the frame.
    """
    kept: list[Detection] = []
    for detection in detections:
        if not any(one.label == detection.label and _is_same(detection, one) for one in kept):
            kept.append(detection)
    return kept


def numeracy_score(detections: Sequence[Detection], wanted: Sequence[CountedNoun], mode: Mode = "corrected") -> float:
    """Score one image, in [0, 1]: the mean over the objects of 0.5 for being there and 0.5 more for the right number.

    The official script also takes a label that contains the object's word for the object, where none bears its name:
    all such labels then count as that object, for the prompt's later objects too.

    Args:
        detections: labelled by `detector_word`, surest first.
        wanted: at least one object.
    """
    assert wanted, "a prompt that counts nothing cannot be scored"
    labels = [detection.label for detection in distinct_objects(detections)]
    score = 0.0
    for item in wanted:
        word = detector_word(item.noun, mode)
        if mode == "official" and word not in labels:
            labels = [word if word in label else label for label in labels]
        score += 0.5 * (word in labels) + 0.5 * (labels.count(word) == item.count)
    return score / len(wanted)


def _is_same(first: Detection, second: Detection) -> bool:
    """Whether two boxes overlap by more than nine tenths of their union or of either; a pixel's own width counts."""
    width = min(first.x_max, second.x_max) - max(first.x_min, second.x_min) + 1
    height = min(first.y_max, second.y_max) - max(first.y_min, second.y_min) + 1
    common = max(0.0, width) * max(0.0, height)
    areas = [(box.x_max - box.x_min + 1) * (box.y_max - box.y_min + 1) for box in (first, second)]
    return max(common / (sum(areas) - common), common / areas[0], common / areas[1]) > SAME_OBJECT
