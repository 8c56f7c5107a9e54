"""A study's folder: what raters are shown, the key that tells which image is whose, and where answers go.

    study.json     the prompts and the two images of each pair, as raters see them
    images/        0001-left.png, 0001-right.png: the names tell the side and nothing else
    key.json       which side is the tuned model's; nothing that serves the study opens it
    raters.json    the tokens of the raters' links
    answers/       one file of JSON lines per rater

A rater is a number. Nothing here tells who that is.
"""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from comat_core.files.regular_files import read_file
from comat_core.support.errors import UserError
from data.formats.records import Record, parse_record

STUDY: Final = "study.json"
KEY: Final = "key.json"
RATERS: Final = "raters.json"
IMAGES: Final = "images"
ANSWERS: Final = "answers"

Side = Literal["left", "right"]
Choice = Literal["left", "right", "tie"]
Question = Literal["alignment", "quality"]
QUESTIONS: Final[dict[Question, str]] = {
    "alignment": "Which image shows better what the text says?",
    "quality": "Which image looks better, whatever the text says?",
}
"""What is asked of every pair, in this order."""

ADVICE: Final = "give a folder that `comat study build` has written"
LARGEST_IMAGE: Final = 64 * 2**20  # bytes
PairName = Annotated[str, Field(pattern=r"^[0-9]{4,6}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pair(_Part):
    """Two images of one prompt."""

    pair: PairName
    prompt: Annotated[str, Field(min_length=1)]

    def image(self, side: Side) -> str:
        """The image's name in the folder of images."""
        return image_name(self.pair, side)


class Study(_Part):
    """What raters are shown."""

    resolution: Annotated[int, Field(ge=1, description="pixels per side of an image")]
    pairs: Annotated[list[Pair], Field(min_length=1)]


class PairKey(_Part):
    """What raters are not shown of a pair."""

    prompt_id: str
    tuned: Side


class StudyKey(_Part):
    """Which image is whose, and where the images are from."""

    preset: str
    split: str
    seed: int
    artifacts: Annotated[dict[str, str], Field(description="model -> key of its images' artifact in the store")]
    pairs: dict[PairName, PairKey]


class Raters(_Part):
    """The links' tokens, each with its rater's number, from 1."""

    tokens: dict[str, Annotated[int, Field(ge=1)]]


def image_name(pair: str, side: Side) -> str:
    """How the image on one side of a pair is called: nothing in it depends on the model."""
    return f"{pair}-{side}.png"


def read_study(folder: Path) -> Study:
    """What raters are shown.

    Raises:
        UserError: this is no study's folder, or its file is damaged.
    """
    study = read_part(Study, folder / STUDY, "study")
    names = [pair.pair for pair in study.pairs]
    if len(set(names)) < len(names):
        raise UserError("two pairs have one name", str(folder / STUDY), "build the study again")
    return study


def read_key(folder: Path, study: Study) -> StudyKey:
    """Which image is whose.

    Raises:
        UserError: the key is missing or damaged, or is another study's.
    """
    key = read_part(StudyKey, folder / KEY, "key of the study")
    if key.pairs.keys() != {pair.pair for pair in study.pairs}:
        raise UserError("the key is that of another study", str(folder / KEY), "put the study's own key there")
    return key


def read_part(kind: type[Record], path: Path, name: str) -> Record:
    """Read one of the folder's files of JSON.

    Raises:
        UserError: it is missing, or damaged.
    """
    content = read_file(path, name, limit=32 * 2**20, advice=ADVICE)
    return parse_record(kind, content, name, str(path), advice=ADVICE)
