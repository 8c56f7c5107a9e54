"""The noun filter that ships with the package, or the user's own."""

from functools import lru_cache
from pathlib import Path

import yaml

from comat_core.errors import UserError
from comat_core.noun_filter import NounFilter

DEFAULT_NOUN_FILTER = Path(__file__).parent / "noun_filter.yaml"


@lru_cache
def load_noun_filter(path: Path | str | None = None) -> NounFilter:
    """Read the word lists of a YAML file laid out as `data/noun_filter.yaml` (the default).

    Raises:
        UserError: the file is missing, is no YAML, or has a section or value of another form.
    """
    path = Path(path) if path else DEFAULT_NOUN_FILTER
    try:
        lists = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("cannot read the noun filter", str(path), str(error)) from error
    except yaml.YAMLError as error:
        raise UserError("the noun filter is no YAML", str(path), str(error)) from error
    if not isinstance(lists, dict):
        raise UserError("the noun filter is no mapping", str(path), "start from data/noun_filter.yaml")
    return NounFilter.from_mapping(lists, where=str(path))
