"""Counts how often something was computed, over all processes of a test: one line in the file $COMAT_TEST_TALLY."""

import os
from pathlib import Path


def tally(name: str) -> None:
    if path := os.environ.get("COMAT_TEST_TALLY"):
        with Path(path).open("a") as file:
            file.write(f"{name}\n")


def tallied() -> list[str]:
    path = Path(os.environ["COMAT_TEST_TALLY"])
    return sorted(path.read_text().split()) if path.exists() else []
