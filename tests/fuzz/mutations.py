"""Damage to files, made from a seed: bytes of any file, values of JSON, lines of text."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]

TOKENS = (
    *("", " ", "\n", "\r\n", "\r", "\t", "\0", "\x1b[31m", "\ufeff", "\u2028", "\x85", "\u202e"),
    *(
        '"',
        "'",
        ",",
        ":",
        ";",
        "\\",
        "{",
        "}",
        "[",
        "]",
        "<",
        ">",
        "|",
        "#",
        "- ",
        "? ",
        "%YAML 9.9\n---\n",
        "---",
        "...",
    ),
    *("null", "~", "true", "NaN", "Infinity", "-Infinity", ".inf", ".nan", "1e999", "-1", "0", "0x_", "1_000", "1:30"),
    *("9" * 20, "9" * 5000, "1" + ":1" * 3000, "0." + "3" * 3000, "2024-99-99", "2024-01-01T99:99:99Z", "=", "<<"),
    *("[" * 3000, "{" * 3000, '{"a":' * 3000, "- " * 3000, "a: [" * 500, "x" * 140_000, "y " * 8000),
    *("&a [*a]", "&a", "*a", "<<: *a", "!!timestamp x", "!!binary ==", "!!int x", "!!python/name:os.system", "!x y"),
    *(r"\ud800", r"\U0011ffff", '"\\ud800"', '"\\x"', '"\\u00e9"', "\U0001f600", "e\u0301", "\ud7ff"),
    *(
        "../../etc/passwd",
        "/dev/zero",
        "/proc/self/mem",
        "~nobody/x",
        "a" * 300 + ".yaml",
        "/" * 5000,
        "file:///",
        "a\\b",
    ),
)
RAW = ("NaN", "-Infinity", "1e999", "9" * 5000, "[" * 3000 + "]" * 3000, '{"a": 1, "a": 2}', r'"\ud800"', "1.5e-400")
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**63,
        -(2**64),
        0.5,
        -1e300,
        "",
        " ",
        "\0",
        "\u2028",
        "x" * 5000,
        "-1",
        "NaN",
    ),
    *(
        [],
        {},
        [[]],
        [None],
        ["a"],
        [1, "a"],
        {"a": None},
        {"": ""},
        "../../x",
        "/dev/zero",
        "a\nb",
        "\x1b[31m",
        "1" * 400,
    ),
)


def damaged_bytes(content: bytes, chance: random.Random) -> bytes:
    """Change a few places: flip, cut, remove, repeat, overwrite, insert."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5))):
        if not changed:
            break
        # Headers are at the beginning or the end of most formats.
        size = len(changed)
        place = chance.choice(
            (chance.randrange(size), chance.randrange(min(size, 64)), size - 1 - chance.randrange(min(size, 64)))
        )
        length = chance.choice((1, 2, 4, 8, 64, 512))
        kind = chance.randrange(6)
        if kind == 0:
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del changed[place:]
        elif kind == 2:
            del changed[place : place + length]
        elif kind == 3:
            changed[place:place] = changed[place : place + length]
        elif kind == 4:
            changed[place : place + length] = chance.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * length
        else:
            changed[place:place] = chance.randbytes(length)
    return bytes(changed)


def damaged_text(content: bytes, chance: random.Random) -> bytes:
    """Change text where it means something: a token in the place of a value, lines that come twice or go."""
    text = content.decode("utf-8", "surrogateescape")
    for _ in range(chance.choice((1, 1, 2, 4))):
        lines = text.split("\n")
        number = chance.randrange(len(lines))
        token = chance.choice(TOKENS)
        kind = chance.randrange(7)
        if kind == 0:
            lines.insert(number, lines[chance.randrange(len(lines))])
        elif kind == 1:
            del lines[number]
        elif kind == 2:
            lines[number] = chance.choice(("  ", "    ", "\t", "- ")) + lines[number]
        elif kind == 3:
            lines.insert(number, token)
        else:
            # Behind a separator a value begins.
            starts = [index + 1 for index, character in enumerate(lines[number]) if character in ":, [{("] or [0]
            start = chance.choice(starts)
            kept = lines[number][start + chance.choice((0, 1, 8, 1000)) :]
            lines[number] = f"{lines[number][:start]} {token}{kept}"
        text = "\n".join(lines)
    return text.encode("utf-8", "surrogateescape")


def damaged_json(content: bytes, chance: random.Random) -> bytes:
    """Put other values into a JSON document or into one line of several, or do what any text suffers."""
    if chance.random() < 0.2:
        return damaged_text(content, chance)
    try:
        return _changed_document(content.decode(), chance).encode("utf-8", "surrogatepass")
    except json.JSONDecodeError:
        lines = content.decode().split("\n")
        number = chance.choice([index for index, line in enumerate(lines) if line.strip()])
        lines[number] = _changed_document(lines[number], chance)
        return "\n".join(lines).encode("utf-8", "surrogatepass")


def damaged_checksummed_tar(content: bytes, chance: random.Random) -> bytes:
    """Change a header of a plain tar archive and make its checksum right again, so that the rest of it is read."""
    changed = bytearray(content)
    start = 512 * chance.randrange(max(len(changed) // 512, 1))
    place = start + chance.choice((chance.randrange(100), 124 + chance.randrange(12), 156, 257 + chance.randrange(8)))
    values = (
        b"\xff" * 11 + b"\0",
        b"\x80" + b"\x7f" * 11,
        b"77777777777\0",
        b"L",
        b"x",
        b"g",
        b"S",
        b"1",
        b"5",
        b"\0",
        b"-1",
    )
    value = chance.choice(values)
    changed[place : place + len(value)] = value
    header = changed[start : start + 512]
    header[148:156] = b" " * 8
    changed[start + 148 : start + 156] = f"{sum(header):06o}\0 ".encode()
    return bytes(changed)


def _changed_document(text: str, chance: random.Random) -> str:
    document = json.loads(text)
    for _ in range(chance.choice((1, 1, 2, 4))):
        document = _changed_value(document, chance)
    marked = json.dumps(document, ensure_ascii=chance.random() < 0.5)
    return marked.replace('"RAW"', chance.choice(RAW))


def _changed_value(document: Any, chance: random.Random) -> Any:
    """The document with one value changed, wherever it is."""
    places = list(_places(document))
    if not places or chance.random() < 0.05:
        return _other_value(document, chance)
    container, key = chance.choice(places)
    kind = chance.randrange(6)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, list):
        container.insert(key, copy.deepcopy(container[key]))
    elif kind == 1:
        container[chance.choice(TOKENS[:40])] = container.pop(key)
    else:
        container[key] = _other_value(container[key], chance)
    return document


def _other_value(value: Any, chance: random.Random) -> Any:
    if chance.random() < 0.2:
        return "RAW"
    if chance.random() < 0.2:
        return chance.choice(([value], {"a": value}, str(value), [value, value]))
    return copy.deepcopy(chance.choice(VALUES))


def _places(document: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value inside a document."""
    entries = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    found = []
    for key, value in entries:
        found += [(document, key), *_places(value)]
    return found
