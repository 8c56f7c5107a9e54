"""Which words of a parsed prompt name an object, though the tagger may say otherwise.

Parts of speech and dependency labels carry most of it. Prompts are no newspaper sentences, and small parsers misread
some of them ("a red rose": the verb, "a orange star": two nouns); word order settles those, and each repair stands
beside its rule. Nothing here knows a particular prompt: only parts of speech, labels, order and the word lists.
"""

from spacy.tokens import Doc, Token

from comat_core.language.grammar.pronouns import is_noun_taken_for_pronoun
from comat_core.language.noun_filter import NounFilter

MODIFIERS = frozenset({"amod", "nmod", "compound", "npadvmod", "advmod", "acomp"})
HYPHENS = frozenset("-\u2010\u2011\u2013")
ARTICLES = frozenset({"a", "an", "the"})
SUBJECTS = frozenset({"nsubj", "nsubjpass"})
DETERMINERS = frozenset({"det", "nummod"})


def is_noun(token: Token) -> bool:
    """Whether the tagger takes the word for a noun, or for a pronoun that it is not."""
    return token.pos_ in ("NOUN", "PROPN") or is_noun_taken_for_pronoun(token)


def is_joint(token: Token) -> bool:
    """What stands between two words of one noun phrase: "red and blue", "old, rusty", "dark-red"."""
    return token.lower_ in (",", "and", "or") or token.text in HYPHENS


def is_descriptive(token: Token, words: NounFilter) -> bool:
    """Whether the word can describe the noun after it: an adjective, a participle, or a noun such as "orange"."""
    if token.pos_ == "ADJ" or token.lower_ in words.attribute_words:
        return True
    before = token.doc[token.i - 1] if token.i else None
    follows_noun = before is not None and is_noun(before) and before.lower_ not in words.attribute_words
    if (follows_noun or (before is not None and before.pos_ == "AUX")) and token.dep_ not in MODIFIERS:
        return False  # "a man wearing jeans", "a man is wearing jeans"
    if token.tag_ == "VBD":  # "a dotted sheep", taken for a past tense without anybody who did it
        subjects = [child for child in token.children if child.dep_ in SUBJECTS]
        return not any(is_noun(child) or child.pos_ == "PRON" for child in subjects if child != before or follows_noun)
    return token.tag_ == "VBN" or (token.tag_ == "VBG" and token.dep_ in MODIFIERS)


def head_nouns(doc: Doc, words: NounFilter) -> list[Token]:
    """The nouns of a prompt that modify no other word, in the order of the prompt."""
    found = {token.i for token in doc if _is_head_by_labels(token, words)}
    for token in doc:
        if token.dep_ in DETERMINERS:
            found |= _noun_behind_determiner(token, words, found)
        elif _is_verb_in_place_of_noun(token) or _is_stranded_second_half(token):
            found.add(token.i)
        if _is_predicate_of_noun_before(token):
            found.discard(token.i)
            found.add(token.i - 1)
    found -= {index for index in found if _is_first_half_of_compound(doc[index], found)}
    return [doc[index] for index in sorted(found)]


def _is_head_by_labels(token: Token, words: NounFilter) -> bool:
    if not is_noun(token):
        return False
    label = token.dep_
    if label in MODIFIERS and not (label == "npadvmod" and _has_article(token)):  # "a clock next to a star"
        return False
    if token.lower_ not in words.attribute_words:
        return True
    return not (_leans_on_next_word(token, words) or _is_bare_complement(token))


def _has_article(token: Token) -> bool:
    return any(child.lower_ in ARTICLES for child in token.children)


def _leans_on_next_word(token: Token, words: NounFilter) -> bool:
    """A colour word in front of its noun, also over other colours: "a orange star", "a teal and gold square"."""
    doc, position = token.doc, token.i + 1
    while position < len(doc) - 1 and is_joint(doc[position]) and is_descriptive(doc[position + 1], words):
        position += 1
    if position >= len(doc):
        return False
    return is_noun(doc[position]) or is_descriptive(doc[position], words)


def _is_bare_complement(token: Token) -> bool:
    """A colour word as in "the star is orange", not as in "the fruit is an orange"."""
    return token.dep_ in ("attr", "acomp") and not any(child.dep_ == "det" for child in token.children)


def _noun_behind_determiner(determiner: Token, words: NounFilter, found: set[int]) -> set[int]:
    """A determiner needs a noun: in "a red rose" and "under a cross" it is the phrase's last word, whatever its tag."""
    doc, position = determiner.doc, determiner.i + 1
    while position < len(doc) and position not in found and _stays_in_phrase(doc[position], determiner, words):
        position += 1
    if position in found:
        return set()
    is_verb = position < len(doc) and doc[position].pos_ == "VERB" and doc[position].tag_ != "VBG"
    last = position if is_verb else position - 1
    word = doc[last]
    unfit = word.lower_ in words.attribute_words or word.lower_ in words.never_attributes or word.tag_ in ("JJR", "JJS")
    return set() if last <= determiner.i or unfit or word.pos_ not in ("VERB", "ADJ") else {last}


def _stays_in_phrase(token: Token, determiner: Token, words: NounFilter) -> bool:
    if is_joint(token) and token.i > determiner.i + 1:
        return token.i + 1 < len(token.doc) and is_descriptive(token.nbor(), words)
    if token.pos_ == "ADV":
        return token.i + 1 < len(token.doc) and is_descriptive(token.nbor(), words)
    return is_descriptive(token, words) or (is_noun(token) and token.dep_ in MODIFIERS)


def _is_verb_in_place_of_noun(token: Token) -> bool:
    """A word that the tagger calls a verb and the parser a noun: "blue vases", "a stop sign", "an apple and candle"."""
    if token.pos_ != "VERB" or token.tag_ == "VBG" or token.i == 0 or token.dep_ in MODIFIERS:
        return False
    if token.tag_ == "VB" and token.dep_ == "conj" and is_noun(token.head):
        return not any(child.dep_ in SUBJECTS | {"aux", "dobj"} for child in token.children)
    before = token.nbor(-1)
    return before.head == token and before.dep_ in ("amod", "compound", "nummod")


def _is_stranded_second_half(token: Token) -> bool:
    """The end of a compound, taken for an adverb or a bare verb that nothing agrees with: "near a stop sign"."""
    tag = token.tag_
    if tag not in ("RB", "VB") or token.dep_ not in ("ROOT", "appos"):
        return False
    if token.i == 0 or not is_noun(token.nbor(-1)) or any(child.dep_ in ("aux", "dobj") for child in token.children):
        return False
    ends = ("PUNCT", "CCONJ") if tag == "RB" else ("PUNCT", "CCONJ", "ADP")
    return token.i + 1 == len(token.doc) or token.nbor().pos_ in ends


def _is_predicate_of_noun_before(token: Token) -> bool:
    """A verb read as one compound with its subject: "a frog standing next to a chair", "a horse gallops past"."""
    tag = token.tag_
    if tag not in ("NN", "NNS", "VBZ", "VBG") or token.i == 0 or token.i + 1 == len(token.doc):
        return False
    before, following = token.nbor(-1), token.nbor()
    if not (before.dep_ == "compound" and before.head == token and before.tag_ == "NN"):
        return False
    if tag in ("NNS", "VBZ"):
        takes_one = any(child.lower_ in ("a", "an") for child in token.children)
        return takes_one and following.pos_ in ("ADP", "ADV", "PUNCT")
    is_gerund = tag == "NN" and token.lower_.endswith("ing") and any(t.dep_ == "advmod" for t in token.rights)
    return (tag == "VBG" or is_gerund) and following.pos_ in ("ADP", "ADV", "DET", "PART")


def _is_first_half_of_compound(token: Token, found: set[int]) -> bool:
    """The "fire" of "fire hydrant", read as two nouns side by side although nothing stands between them."""
    if token.i + 1 not in found:
        return False
    following = token.nbor()
    is_apart = following.dep_ in ("appos", "ROOT", "dep") and is_noun(following)
    return is_apart or _is_stranded_second_half(following)
