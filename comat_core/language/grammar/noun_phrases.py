"""Which words of a parsed prompt describe which of its nouns.

Attributes are the noun's modifiers by dependency label, followed through other modifiers and conjunctions, and what a
copula or a relative clause says of it. Where a small parser hangs a word elsewhere, its place before the noun decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from spacy.tokens import Doc, Token

from comat_core.language.grammar.nouns import (
    HYPHENS,
    MODIFIERS,
    SUBJECTS,
    head_nouns,
    is_descriptive,
    is_joint,
    is_noun,
)
from comat_core.language.noun_filter import NounFilter

COPULAS = frozenset({"be", "look", "seem", "appear", "become", "remain", "stay"})
RELATIVE_PRONOUNS = frozenset({"that", "which", "who"})
ACTORS_AND_OBJECTS = frozenset({"agent", "prep", "dobj", "oprd", "xcomp"})


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """A noun that is no modifier, and the words that describe it, in the order of the prompt."""

    noun: Token
    attributes: tuple[Token, ...]


def read_noun_phrases(doc: Doc, words: NounFilter) -> list[NounPhrase]:
    """Find the nouns of a prompt and their attributes; modifiers that no image region shows are left out."""
    return _PhraseReader(doc, words).phrases()


class _PhraseReader:
    """The state of reading one prompt: its head nouns and, per noun, the words claimed so far."""

    def __init__(self, doc: Doc, words: NounFilter) -> None:
        self.doc = doc
        self.words = words
        self.heads = head_nouns(doc, words)
        self.head_positions = {head.i for head in self.heads}
        self.relative_verbs = [token for token in doc if token.dep_ == "relcl"]

    def phrases(self) -> list[NounPhrase]:
        claimed = {head.i: self._described_by_labels(head) for head in self.heads}
        self._settle_words_in_front(claimed)
        self._share_with_bare_conjuncts(claimed)
        return [
            NounPhrase(head, tuple(self.doc[i] for i in sorted(self._shown(claimed[head.i])))) for head in self.heads
        ]

    def _described_by_labels(self, noun: Token) -> set[int]:
        """Modifier children of the noun, through modifiers and conjunctions, and what its clauses say of it."""
        found: set[int] = set()
        waiting = [child for child in noun.children if child.dep_ in MODIFIERS]
        waiting += self._complements(noun)
        while waiting:
            token = waiting.pop()
            if token.i in found or token.i in self.head_positions or token.pos_ in ("AUX", "ADP"):
                continue
            found.add(token.i)
            waiting += [child for child in token.children if child.dep_ in MODIFIERS or _is_conjunct(child)]
        return found

    def _complements(self, noun: Token) -> Iterator[Token]:
        """What verbs say of the noun: "the dog is red", "the dog and the cat are red", "a dog that is red and old"."""
        subject = noun
        while subject.dep_ == "conj" and is_noun(subject.head):
            subject = subject.head
        verbs = [subject.head] if subject.dep_ in SUBJECTS else []
        verbs += [verb for verb in self.relative_verbs if _antecedent(verb) == noun]
        for verb in verbs:
            for complement in self._predicates(verb):
                yield complement
                yield from self._continued(complement)

    def _predicates(self, verb: Token) -> list[Token]:
        """Complements of a copula, or a passive participle that stands alone."""
        children = list(verb.children)
        if verb.lemma_ in COPULAS:
            nouns = [child for child in children if child.dep_ == "attr" and is_descriptive(child, self.words)]
            return nouns + [child for child in children if child.dep_ in ("acomp", "oprd")]
        is_passive = verb.tag_ in ("VBN", "VBD") and any(child.dep_ in ("auxpass", "aux") for child in children)
        if is_passive and not any(child.dep_ in ACTORS_AND_OBJECTS for child in children):
            return [verb]
        return [verb] if verb.pos_ == "ADJ" else []

    def _continued(self, complement: Token) -> Iterator[Token]:
        """The words in "red and striped" after the first, which parsers take for verbs of their own."""
        position = complement.i + 2
        while position < len(self.doc) and is_joint(self.doc[position - 1]):
            token = self.doc[position]
            is_last = position + 1 == len(self.doc) or self.doc[position + 1].pos_ in ("PUNCT", "CCONJ", "SPACE")
            if not is_last or not (
                token.pos_ == "ADJ" or token.tag_ in ("VBN", "VBD") or token.lower_ in self.words.attribute_words
            ):
                return
            yield token
            position += 2

    def _settle_words_in_front(self, claimed: dict[int, set[int]]) -> None:
        """Give each descriptive word in front of a noun to that noun, whichever word the parser hung it on."""
        for head in self.heads:
            in_front = set(self._words_in_front(head))
            for others in claimed.values():
                others -= in_front
            claimed[head.i] |= in_front

    def _words_in_front(self, head: Token) -> Iterator[int]:
        """Walk left from a noun over its modifiers, and over what joins two of them."""
        position = head.i - 1
        while position >= 0:
            token = self.doc[position]
            if is_joint(token) and 0 < position < head.i - 1 and self._can_stand_in_front(position - 1):
                position -= 1
            elif self._can_stand_in_front(position):
                yield position
                position -= 1
            else:
                return

    def _can_stand_in_front(self, position: int) -> bool:
        token = self.doc[position]
        return position not in self.head_positions and (is_noun(token) or is_descriptive(token, self.words))

    def _share_with_bare_conjuncts(self, claimed: dict[int, set[int]]) -> None:
        """Let "a white sink and door" be a white sink and a white door: the second noun has no article of its own."""
        for first, second in zip(self.heads, self.heads[1:], strict=False):
            if self._is_bare_conjunct(first, second) and not claimed[second.i]:
                claimed[second.i] = {
                    index for index in claimed[first.i] if index < first.i and self._is_adjective_like(index)
                }

    def _is_adjective_like(self, position: int) -> bool:
        """Whether two nouns can share the word: "white" is, "coffee" in "coffee cup" belongs to its noun alone."""
        return self.doc[position].pos_ == "ADJ" or is_descriptive(self.doc[position], self.words)

    def _is_bare_conjunct(self, first: Token, second: Token) -> bool:
        if second.i != first.i + 2 or self.doc[first.i + 1].lower_ not in ("and", "or"):
            return False
        has_article = any(child.lower_ in ("a", "an") for child in first.children)
        return not (has_article and second.morph.get("Number", []) == ["Plur"])

    def _shown(self, positions: set[int]) -> Iterator[int]:
        for position in positions:
            token = self.doc[position]
            if not {token.lower_, token.lemma_.lower()} & self.words.never_attributes and token.text not in HYPHENS:
                yield position


def _is_conjunct(token: Token) -> bool:
    """A conjunct without a subject of its own: not the second half of "the fox is red and the bird is blue"."""
    return token.dep_ == "conj" and not any(child.dep_ in SUBJECTS for child in token.children)


def _antecedent(clause: Token) -> Token:
    """The noun that a relative clause describes: the one right before its pronoun, else the parser's choice."""
    for token in clause.children:
        before = token.i - 1
        if token.lower_ in RELATIVE_PRONOUNS and before >= 0 and is_noun(clause.doc[before]):
            return clause.doc[before]
    return clause.head
