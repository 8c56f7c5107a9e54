"""JSON lines: one document per line, blank lines left out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comat_core.files.json_files import Shape, parse_json
from comat_core.files.text_files import read_lines


def read_json_lines(
    path: Path, kind: str, *, shape: Shape = "object", advice: str = "write one object per line"
) -> Iterator[tuple[int, Any]]:
    """Yield (line number, document) as the file is read.

    Args:
        kind: what the file should be, for the message: "prompt file".
        shape: what each document has to be.

    Raises:
        UserError: the file cannot be read; a line is no JSON, or of another shape.
    """
    for number, line in read_lines(path, kind, advice=advice):
        if text := line.strip():
            yield number, parse_json(text, "line", f"{path}, line {number}", shape=shape, advice=advice)
