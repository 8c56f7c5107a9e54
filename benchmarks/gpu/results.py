"""The file of results: written after every part, so that a call that ended early is simply made again."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comat_core.files.whole_files import write_whole
from comat_core.support.errors import UserError

FAILED = "failed"
"""Of a part that could not be measured: why."""


@dataclass
class Results:
    """Measured parts of one machine, by name."""

    path: Path
    settings: dict[str, Any]
    """The machine, and what else is alike for all parts."""
    parts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, settings: dict[str, Any]) -> "Results":
        """Read the file of earlier calls if there is one.

        Raises:
            UserError: it is none, or of another machine or other settings.
        """
        if not path.exists():
            return cls(path, settings)
        try:
            found = json.loads(path.read_text())
            parts = dict(found.pop("parts"))
        except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
            raise UserError("not a file of these results", str(path), "name another by --results") from error
        different = sorted(name for name in found.keys() | settings.keys() if found.get(name) != settings.get(name))
        if different:
            problem = f"holds results of another {' and '.join(different)}"
            raise UserError(problem, str(path), "name another file by --results")
        return cls(path, settings, parts)

    def missing(self, parts: list[str], *, failed_too: bool) -> list[str]:
        """Those of the parts that are still to be measured.

        Args:
            failed_too: a part that failed counts as one.
        """
        return [name for name in parts if name not in self.parts or (failed_too and FAILED in self.parts[name])]

    def keep(self, part: str, facts: dict[str, Any]) -> None:
        """Write down what a part has given."""
        self.parts[part] = facts
        write_whole(self.path, (json.dumps(self.as_json(), indent=2) + "\n").encode())

    def as_json(self) -> dict[str, Any]:
        """All of it, the parts by name."""
        return self.settings | {"parts": dict(sorted(self.parts.items()))}
