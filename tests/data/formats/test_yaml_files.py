"""YAML: plain types, every name once, and aliases counted as what they stand for."""

import resource
import time
from pathlib import Path
from typing import Any

import pytest

from comat_core.support.errors import UserError
from data.formats.yaml_files import parse_yaml, read_yaml_mapping


def refusal(text: str) -> str:
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "preset", "a.yaml")
    assert time.monotonic() - start < 8  # seconds, on a busy machine; most take milliseconds
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 400
    return line


def bomb(template: str, levels: int = 9) -> str:
    """Lines of which each names the one before ten times."""
    lines = ["a0: &a0 {x: 1, y: 2}"]
    for level in range(1, levels):
        before = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} {template.format(before)}")
    return "\n".join(lines)


def test_settings_are_plain_values() -> None:
    text = (
        "a: 1\nb: [1.5, .inf, true, ~, 0x1f, 'no']\nc: 2024-01-01\nd: 2024-99-99\ne: {f: &x {g: 1}, h: *x}\ni: !!str 3"
    )
    assert parse_yaml(text, "preset", "a.yaml") == {
        "a": 1,
        "b": [1.5, float("inf"), True, None, 31, "no"],
        "c": "2024-01-01",
        "d": "2024-99-99",
        "e": {"f": {"g": 1}, "h": {"g": 1}},
        "i": "3",
    }


def test_an_alias_is_a_copy() -> None:
    values = parse_yaml("a: &x {b: [1]}\nc: *x", "preset", "a.yaml")
    values["a"]["b"].append(2)
    assert values["c"] == {"b": [1]}


@pytest.mark.parametrize("order", ["base first", "merged first"])
def test_settings_are_merged_and_overridden_wherever_their_anchor_stands(order: str) -> None:
    deep = "p: {q: &a {<<: *b, x: 2}}" if order == "merged first" else "q: &a {<<: *b, x: 2}"
    values = parse_yaml(f"b: &b {{x: 1, y: 1}}\n{deep}\nc: {{<<: *a, y: 3}}", "preset", "a.yaml")
    assert values["c"] == {"x": 2, "y": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb("[{}]"), "aliases that stand for more than 10,000 values (a.yaml, line "),
        (bomb("{{<<: [{}]}}"), "aliases that stand for more than 10,000 values"),
        ("a: &a [*a]", "malformed YAML: an anchor contains itself (a.yaml, line 1)"),
        ("b: 1\na: &a {b: {<<: *a}}", "an anchor contains itself (a.yaml, line 2)"),
        ("\n".join(f"k{number}: {number}" for number in range(60_000)), "more than 10,000 values"),
        ("a: [" * 1000, "values inside each other more than 64 deep"),
        ("- " * 1000 + "1", "values inside each other more than 64 deep"),
        ("a0: &a0 1\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 2000)), "more than 64 deep"),
        ("a: " + "7" * 5000, "a number of 5,000 characters (a.yaml, line 1)"),
        ("a: 1" + ":1" * 100_000, "a number of 200,001 characters"),
        ("a: " + "1" * 3_000_000, "the preset has more than 2,097,152 characters"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]", "a value of type 'python/object/apply:os.system'"),
        ("a: !!timestamp nonsense", "a value of type 'timestamp', which no setting has"),
        ("a: !!binary ====", "a value of type 'binary'"),
        ("a: !mine {b: 1}", "a value of type '!mine'"),
        ("a: !!int many", "'many' is no int (a.yaml, line 1)"),
        ("a: !!bool perhaps", "'perhaps' is no bool"),
        ("a: !!float ''", "'' is no float"),
        ("a: 0x_", "'0x_' is no int"),
        ("b: 1\na: 1\nb: 2", "'b' is given twice (a.yaml, line 1)"),
        ("? [1, 2]\n: 3", "malformed YAML: found unhashable key"),
        ('a: "\\UFFFFFFFF"', "malformed YAML"),
        ('a: "\\ud800"', "holds half a character"),
        ("%YAML " + "1" * 5000 + ".1\n---\na: 1", "malformed YAML"),
        ("a: *nobody", "malformed YAML: found undefined alias 'nobody' (a.yaml, line 1)"),
        ("a: 1\n---\nb: 2", "malformed YAML: but found another document"),
        ("a: \x01", "malformed YAML"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    assert message in refusal(text)


@pytest.mark.parametrize("template", ["[{}]", "{{<<: [{}]}}"])
def test_a_bomb_takes_no_memory(template: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusal(bomb(template, levels=12))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize(("content", "kind"), [("- 1", list), ("", None), ("3", int)])
def test_what_is_no_mapping_is_told(tmp_path: Path, content: str, kind: Any) -> None:
    (tmp_path / "a.yaml").write_text(content)
    assert kind is None or isinstance(parse_yaml(content, "preset", "a.yaml"), kind)
    with pytest.raises(UserError, match=r"the preset is no mapping of settings \(.*a\.yaml\)"):
        read_yaml_mapping(tmp_path / "a.yaml", "preset")
