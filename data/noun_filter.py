"""The noun filter that ships with the package, or the user's own."""

from functools import lru_cache
from pathlib import Path

from comat_core.language.noun_filter import NounFilter
from data.formats.yaml_files import read_yaml_mapping

DEFAULT_NOUN_FILTER = Path(__file__).parent / "noun_filter.yaml"


@lru_cache
def load_noun_filter(path: Path | str | None = None) -> NounFilter:
    """Read the word lists of a YAML file laid out as `data/noun_filter.yaml` (the default).

    Raises:
        UserError: the file is missing, is no YAML, or has a section or value of another form.
    """
    path = Path(path) if path else DEFAULT_NOUN_FILTER
    lists = read_yaml_mapping(path, "noun filter", advice="start from data/noun_filter.yaml")
    return NounFilter.from_mapping(lists, where=str(path))
