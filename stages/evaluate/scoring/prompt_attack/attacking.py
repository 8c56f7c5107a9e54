"""One model under attack: words searched for some prompts, and what the classifier sees of them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from stages.batches import batches
from stages.evaluate.scoring.prompt_attack.attacked_prompts import PromptOfClass
from stages.evaluate.scoring.prompt_attack.config import AttackConfig
from stages.images.image_rows import image_seed
from stages.sampling import decode_images, sample_latents

if TYPE_CHECKING:
    from comat_core.attack.classifiers import Classifier
    from comat_core.attack.search import FoundWords, WordSearch
    from comat_core.attack.words import AddableWords
    from comat_core.backbones.protocol import Backbone


def attack(
    config: AttackConfig, model: "Backbone", classifier: "Classifier", prompts: Sequence[PromptOfClass], title: str
) -> list[dict[str, Any]]:
    """Attack prompts; return a row of the items table for each of the texts drawn from what was found.

    Every text is drawn beside a control, as many random words after the same prompt, and the prompt alone: three
    images from the same noise.
    """
    from comat_core.attack.search import AttackedPrompt, WordSearch

    search = WordSearch(
        model, classifier, config.sampling, config.search, resolution=config.resolution, seed=config.seed
    )
    items: list[dict[str, Any]] = []
    for batch in batches(prompts, config.batch_size, title):
        found = search.find([AttackedPrompt(one.prompt_id, one.text, one.class_number) for one in batch])
        items += _items(config, model, classifier, batch, search, found)
    return items


def _items(
    config: AttackConfig,
    model: "Backbone",
    classifier: "Classifier",
    prompts: Sequence[PromptOfClass],
    search: "WordSearch",
    found: "FoundWords",
) -> list[dict[str, Any]]:
    from comat_core.attack.success import is_success, names_class

    drawn = [(row, sample) for row in range(len(prompts)) for sample in range(config.texts_per_prompt)]
    seeds = [image_seed(config.seed, prompts[row].prompt_id, sample) for row, sample in drawn]
    plain = [prompts[row].text for row, _ in drawn]
    attacked, control = zip(*_texts(config, prompts, search.words, found), strict=True)
    names = classifier.classes
    seen = [
        [names[number] for number in _classify(config, model, classifier, texts, seeds)]
        for texts in (attacked, control, plain)
    ]
    items = []
    for place, (row, sample) in enumerate(drawn):
        prompt = prompts[row]
        name, (of_attack, of_control, of_prompt) = prompt.class_name, (by_text[place] for by_text in seen)
        success = float(is_success(attacked[place], name, of_attack == name))
        by_chance = float(is_success(control[place], name, of_control == name))
        others = (other for other in names if names_class(attacked[place], other))
        items.append(
            {
                "prompt_id": prompt.prompt_id,
                "sample": sample,
                "kind": prompt.kind,
                "class_name": name,
                "text": attacked[place],
                "control_text": control[place],
                "seen": of_attack,
                "control_seen": of_control,
                "unattacked_seen": of_prompt,
                "attack_success": success,
                "attack_control": by_chance,
                "attack_excess": success - by_chance,
                "attack_unattacked": float(of_prompt != name),
                "attack_names_another": float(any(not names_class(prompt.text, other) for other in others)),
                "first_loss": float(found.losses[0, row]),
                "last_loss": float(found.losses[-1, row]),
                "skipped_iterations": found.skipped[row],
            }
        )
    return _with_any(items)


def _texts(
    config: AttackConfig, prompts: Sequence[PromptOfClass], words: "AddableWords", found: "FoundWords"
) -> Iterator[tuple[str, str]]:
    """Each prompt's samples: with words drawn from what was found, and with words drawn from all alike."""
    from comat_core.attack.distributions import draw_words
    from comat_core.support.randomness import make_generator

    for prompt, logits in zip(prompts, found.logits, strict=True):
        for sample in range(config.texts_per_prompt):
            drawn = draw_words(logits, make_generator(config.seed, "attack sample", prompt.prompt_id, sample))
            generator = make_generator(config.seed, "attack control", prompt.prompt_id, sample)
            random = draw_words(logits.new_zeros(logits.shape), generator)
            yield words.write(prompt.text, words.read(drawn)), words.write(prompt.text, words.read(random))


def _classify(
    config: AttackConfig, model: "Backbone", classifier: "Classifier", texts: Sequence[str], seeds: Sequence[int]
) -> list[int]:
    """The classifier's likeliest class in the image of each text."""
    import torch

    from comat_core.support.finite_numbers import check_finite

    numbers: list[int] = []
    with torch.no_grad():
        for batch in batches(list(zip(texts, seeds, strict=True)), config.batch_size):
            latents = sample_latents(model, config, [text for text, _ in batch], [seed for _, seed in batch])
            logits = classifier.logits(decode_images(model, latents).clamp(0, 1))
            check_finite(logits, "the classifier's logits", next(iter(classifier.networks)))
            numbers += logits.argmax(dim=1).tolist()
    return numbers


def _with_any(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Let the first sample of a prompt tell whether any of them succeeded: a score of the prompt, once."""
    succeeded = {item["prompt_id"] for item in items if item["attack_success"]}
    for item in items:
        item["attack_any"] = float(item["prompt_id"] in succeeded) if item["sample"] == 0 else None
    return items
