"""Which spaCy pipeline is installed, told without importing spaCy, which takes a second."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from comat_core.errors import UserError


def parser_identity(name: str) -> dict[str, Any]:
    """What an installed pipeline is: its language, name and version.

    Raises:
        UserError: it is not installed.
    """
    package = find_spec(name) if name.isidentifier() else None
    if package is None or package.origin is None:
        raise not_installed(name)
    try:
        meta = json.loads((Path(package.origin).parent / "meta.json").read_bytes())
    except OSError as error:
        raise not_installed(name) from error
    return {key: meta[key] for key in ("lang", "name", "version")}


def not_installed(name: str) -> UserError:
    """The error for a pipeline that is not there."""
    how = f"install it: python -m spacy download {name} (never en-core-web-trf from PyPI: it is not spaCy's)"
    return UserError("the spaCy pipeline is not installed", name, how)
