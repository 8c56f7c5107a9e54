"""Every family says where its choice of attention layers comes from, and the documentation says the same."""

from pathlib import Path

import pytest

from comat_core.backbones.families import FAMILIES

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "backbones.md"


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_documentation_says_where_the_choice_of_layers_comes_from(kind: str) -> None:
    source = FAMILIES[kind].backbone_class().attention_layers_source
    rows = [line.strip("| ").split(" | ") for line in DOCUMENTATION.read_text().splitlines() if line.startswith("| ")]
    documented = [row[2] for row in rows if len(row) == 3 and kind in row[0].split(", ")]
    assert documented == [source]
