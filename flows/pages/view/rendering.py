"""The page of `comat view`."""

from stages.images import ImagesConfig
from stages.plan.pipeline import make_plan
from stages.plan.presets import Preset
from stages.plan.splits import TEST
from stages.prompts.tables import read_prompts
from stages.report.page_templates import page_template
from stages.store.store import Store

SUGGESTIONS = 6
SMALL_IMAGE = 256  # pixels; smaller images are enlarged without smoothing


def render_page(preset: Preset, store: Store, longest_prompt: int) -> str:
    """Fill the page's template; everything is escaped."""
    sampling = preset.sections["images"]
    assert isinstance(sampling, ImagesConfig)
    return page_template("flows.pages.view", "view.html").render(
        preset=preset.name,
        description=preset.shared.description,
        longest_prompt=longest_prompt,
        suggestions=_held_out_prompts(preset, store),
        steps=sampling.sampling.num_inference_steps,
        scheduler=sampling.sampling.scheduler,
        resolution=sampling.resolution,
        pixelated=sampling.resolution <= SMALL_IMAGE,
    )


def _held_out_prompts(preset: Preset, store: Store) -> list[str]:
    """A few prompts that the model was not trained on, one of each skill in turn; none if the store has none."""
    node = make_plan(preset.sections).by_name.get("prompts")
    artifact = store.look_up(node.stage.name, node.key).artifact if node else None
    if artifact is None:
        return []
    by_skill: dict[str, list[str]] = {}
    for prompt in read_prompts(artifact, [TEST]):
        by_skill.setdefault(prompt.skill, []).append(prompt.text)
    in_turn = [texts[rank] for rank in range(SUGGESTIONS) for texts in by_skill.values() if rank < len(texts)]
    return in_turn[:SUGGESTIONS]
