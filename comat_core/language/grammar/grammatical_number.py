"""Singular to plural and back, in a parsed English prompt."""

from collections.abc import Sequence

from spacy.tokens import Doc, Token

IRREGULAR_PLURALS = {
    "man": "men",
    "woman": "women",
    "person": "people",
    "child": "children",
    "mouse": "mice",
    "goose": "geese",
    "foot": "feet",
    "tooth": "teeth",
    "ox": "oxen",
    "leaf": "leaves",
    "knife": "knives",
    "wolf": "wolves",
    "shelf": "shelves",
    "loaf": "loaves",
    "scarf": "scarves",
    "calf": "calves",
    "half": "halves",
    "wife": "wives",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "hero": "heroes",
    "cactus": "cacti",
}
SAME_IN_PLURAL = frozenset(
    {"sheep", "fish", "deer", "moose", "bison", "aircraft", "scissors", "glasses", "jeans", "pants"}
)
SIBILANTS = ("s", "x", "z", "ch", "sh")
VERBS_WITH_MANY = {"is": "are", "was": "were", "has": "have", "does": "do"}
VERBS_WITH_ONE = {many: one for one, many in VERBS_WITH_MANY.items()}
QUANTIFIERS = frozenset(
    {"few", "several", "many", "various", "numerous", "countless", "multiple", "couple", "some", "all", "both"}
)
"""Words for more than one that fix no number."""
POINTERS = {"this": "these", "that": "those", "these": "this", "those": "that"}


def plural_of(noun: str) -> str:
    """The plural of an English noun in lower case; nouns with one form for both come back unchanged."""
    if noun in SAME_IN_PLURAL:
        return noun
    for singular, plural in IRREGULAR_PLURALS.items():
        if noun == singular or (len(singular) > 2 and noun.endswith(singular) and noun != "human" and noun != "german"):
            return noun[: -len(singular)] + plural
    if noun.endswith("y") and noun[-2:-1] not in ("a", "e", "i", "o", "u"):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(SIBILANTS) else "s")


def is_plural(noun: Token) -> bool:
    """Whether the tagger read a noun as more than one."""
    return noun.tag_ in ("NNS", "NNPS") or noun.morph.get("Number", []) == ["Plur"]


def change_number(doc: Doc, nouns: Sequence[Token]) -> str | None:
    """Write the prompt with each of `nouns` in the other number; None when no noun has another form.

    Articles, number words and verbs go along: "a dog that is red" -> "dogs that are red", "two dogs", "three hundred
    dogs" and "a few dogs" -> "one dog".
    """
    changes: dict[int, str] = {}
    for noun in nouns:
        changes |= _change(noun)
    if not changes:
        return None
    text = "".join(changes.get(token.i, token.text) + token.whitespace_ for token in doc)
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] if doc.text[:1].isupper() else text


def _change(noun: Token) -> dict[int, str]:
    """The new words for one noun and what agrees with it, by position."""
    plural = is_plural(noun)
    lemma = noun.lemma_.lower() if plural else noun.lower_
    changed = lemma if plural else plural_of(lemma)
    amounts = [child for child in noun.children if child.dep_ == "nummod"]
    if changed == noun.lower_ and not amounts:
        return {}
    words = {noun.i: changed, **_agreeing_verbs(noun, plural)}
    articles = [child for child in noun.children if child.dep_ == "det"]
    if plural:
        amounts += [child for child in noun.lefts if child.lower_ in QUANTIFIERS and child not in amounts]
        words |= _as_one(noun, amounts, articles)
        if not articles and not amounts:
            first = min(noun.lefts, key=lambda token: token.i, default=noun)
            words[first.i] = _with_article(words.get(first.i, first.text))
    else:
        words |= {article.i: "" for article in articles if article.lower_ in ("a", "an")}
        words |= {amount.i: "two" for amount in amounts}
    words |= {article.i: POINTERS[article.lower_] for article in articles if article.lower_ in POINTERS}
    return words


def _as_one(noun: Token, amounts: Sequence[Token], articles: Sequence[Token]) -> dict[int, str]:
    """Make the whole of an amount a single "one": "three hundred", "half a dozen", "a great many"."""
    taken = [word.i for amount in amounts for word in amount.subtree if word.i < noun.i]
    if not taken:
        return {amount.i: "one" for amount in amounts}
    taken += [article.i for article in articles if article.lower_ in ("a", "an")]
    return dict.fromkeys(range(min(taken), max(taken)), "") | {max(taken): "one"}


def _agreeing_verbs(noun: Token, plural: bool) -> dict[int, str]:
    """The verbs whose only subject the noun is, in their other form, also those of its relative clauses."""
    is_only_subject = noun.dep_ in ("nsubj", "nsubjpass") and not any(child.dep_ == "conj" for child in noun.children)
    verbs = [noun.head] if is_only_subject else []
    verbs += [child for child in noun.children if child.dep_ == "relcl"]
    words = [
        word for verb in verbs for word in (verb, *verb.children) if word == verb or word.dep_ in ("aux", "auxpass")
    ]
    return {word.i: changed for word in words if (changed := _other_form(word, plural)) is not None}


def _other_form(verb: Token, plural: bool) -> str | None:
    if plural:
        return VERBS_WITH_ONE.get(verb.lower_) or (plural_of(verb.lower_) if verb.tag_ == "VBP" else None)
    return VERBS_WITH_MANY.get(verb.lower_) or (verb.lemma_ if verb.tag_ == "VBZ" else None)


def _with_article(word: str) -> str:
    return f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}"
