"""What an examination says: one line each, and what to do about it."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

GIGABYTE = 10**9


class Verdict(StrEnum):
    """Whether a run can start all the same."""

    GOOD = "good"
    NOTE = "note"
    PROBLEM = "problem"


class Finding(BaseModel):
    """One line."""

    model_config = ConfigDict(frozen=True)

    subject: str
    verdict: Verdict
    what: str
    what_to_do: str = ""

    def __str__(self) -> str:
        advice = f": {self.what_to_do}" if self.what_to_do else ""
        return f"{self.verdict:<7}  {self.subject:<9} {self.what}{advice}"


def good(subject: str, what: str) -> Finding:
    return Finding(subject=subject, verdict=Verdict.GOOD, what=what)


def note(subject: str, what: str, what_to_do: str) -> Finding:
    return Finding(subject=subject, verdict=Verdict.NOTE, what=what, what_to_do=what_to_do)


def problem(subject: str, what: str, what_to_do: str) -> Finding:
    return Finding(subject=subject, verdict=Verdict.PROBLEM, what=what, what_to_do=what_to_do)


def gigabytes(size: float) -> str:
    """Bytes for the reader."""
    return f"{size / GIGABYTE:,.1f} GB" if size >= GIGABYTE / 10 else f"{size / 10**6:,.1f} MB"
