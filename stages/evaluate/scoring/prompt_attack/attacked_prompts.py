"""The prompts that are attacked: of each kind one for each of the drawn classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from comat_core.attack.success import names_class
from comat_core.support.errors import UserError
from comat_core.support.randomness import derive_seed
from stages.evaluate.scoring.prompt_attack.config import AttackConfig, PromptTemplate
from stages.evaluate.scoring.questions.question_files import QuestionFile
from stages.models.classifiers.zero_shot import NAME

PROMPT: Final = "prompt"


@dataclass(frozen=True)
class PromptOfClass:
    """A prompt, the kind that it is of, and the class that it names, with its number at the classifier."""

    prompt_id: str
    kind: str
    text: str
    class_name: str
    class_number: int


def attacked_prompts(config: AttackConfig) -> list[PromptOfClass]:
    """Draw the classes by the seed, the same of every kind as far as a kind has prompts of them.

    Prompts of a file that do not name their class word by word are left out: no attack on them could succeed.

    Raises:
        UserError: a kind has no prompt of any class of the classifier, or a file cannot be read.
    """
    names = config.classifier.class_names()
    numbers = {name: number for number, name in enumerate(names)}
    drawn = sorted(names, key=lambda name: derive_seed(config.seed, "attacked class", name))
    found = []
    for kind, source in sorted(config.prompts.items()):
        texts = _texts_by_class(source, names)
        chosen = [name for name in drawn if name in texts][: config.classes]
        if not chosen:
            problem = f"none of the prompts names one of the classifier's {len(names)} classes"
            raise UserError(problem, f"evaluate.attack.prompts.{kind}", "give prompts of its classes")
        found += [PromptOfClass(f"{kind}/{name}", kind, texts[name], name, numbers[name]) for name in chosen]
    return found


def _texts_by_class(source: PromptTemplate | QuestionFile, names: Sequence[str]) -> Mapping[str, str]:
    """Name of a class -> its prompt; the first of several."""
    if isinstance(source, PromptTemplate):
        return {name: source.template.format(name) for name in names}
    texts: dict[str, str] = {}
    for row in source.read_csv([PROMPT, NAME]):
        text, name = row.text(PROMPT).strip(), row.text(NAME)
        if names_class(text, name):
            texts.setdefault(name, text)
    return texts
