"""What a prompt looks like before it may be trained on, and when two prompts count as the same."""

import hashlib
import re
import unicodedata

CONTROL = re.compile(r"[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200d\u2060\ufeff]")
WORD = re.compile(r"\w+")
ARTICLES = frozenset({"a", "an", "the"})
LATIN_SHARE = 0.9
WORDS_TO_JUDGE_LANGUAGE = 8
ENGLISH_WORDS = (
    "a an the of and to in on with is are at by for from that it its his her this these near next under above behind "
    "beside front left right top while has have be as or into over their two three"
)
OTHER_WORDS = (
    "der das und ein eine einer mit auf ist im von zu den dem nicht le la les un une des du et est dans avec sur pour "
    "qui el los las una y con en es del por que il di e che sul nel uma um os com na em het een van op"
)
ENGLISH, OTHER_LANGUAGES = frozenset(ENGLISH_WORDS.split()), frozenset(OTHER_WORDS.split())


def normalise(text: str) -> str:
    """Compose Unicode (NFC), remove invisible characters, make white space single blanks."""
    single_spaced = " ".join(unicodedata.normalize("NFC", text).split())
    return " ".join(CONTROL.sub("", single_spaced).split())


def same_words_key(text: str) -> str:
    """Equal for prompts with the same words in the same order, whatever their case and punctuation."""
    return " ".join(WORD.findall(text.casefold()))


def near_duplicate_key(text: str) -> str:
    """Equal for prompts that also agree when articles are left out."""
    return " ".join(word for word in WORD.findall(text.casefold()) if word not in ARTICLES)


def bag_of_words_key(text: str) -> str:
    """Equal for prompts with the same words in any order: also for "a red cat and a blue dog" with colours swapped."""
    return " ".join(sorted(WORD.findall(text.casefold())))


def key_hash(key: str) -> int:
    """64 bits of a key: among a million keys two collide with a chance of 3e-8."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")


def prompt_id(text: str, occurrence: int = 0) -> str:
    """16 hexadecimal digits of the text's digest; repeats of a text get ids of their own by their number."""
    return hashlib.sha256(f"{text}\x1f{occurrence}".encode() if occurrence else text.encode()).hexdigest()[:16]


def is_english(text: str) -> bool:
    """Tell English from other languages well enough to keep stray prompts out.

    Letters have to be Latin; in longer prompts other languages' small words may not outnumber the English ones.
    """
    letters = [character for character in text if character.isalpha()]
    latin = sum(character < "\u0250" or unicodedata.name(character, "").startswith("LATIN") for character in letters)
    if not letters or latin < LATIN_SHARE * len(letters):
        return False
    words = WORD.findall(text.lower())
    if len(words) < WORDS_TO_JUDGE_LANGUAGE:
        return True
    return sum(word in OTHER_LANGUAGES for word in words) <= sum(word in ENGLISH for word in words)
