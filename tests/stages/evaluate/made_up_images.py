"""Base and tuned images in flat colours, for evaluations whose models are made up too."""

from tests.stages.fake_run import flat_png, images_table, make_artifact, prompts_table

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (128, 128, 128)


def make_inputs(store, prompts, base, tuned, *, samples=1, names=("base", "tuned")):
    """Prompts and one part of images per model.

    Args:
        prompts: (prompt_id, text, skill, split) rows.
        base, tuned: prompt id -> the colour of its images.
    """

    def table(colours):
        return images_table(
            [
                (prompt_id, split, sample, flat_png(colours[prompt_id]))
                for prompt_id, _, _, split in prompts
                for sample in range(samples)
            ]
        )

    models = {
        name: make_artifact(store, "images", key=name, tables={"images/00000.parquet": table(colours)})
        for name, colours in zip(names, (base, tuned), strict=False)
    }
    return {"prompts": make_artifact(store, "prompts", tables={"prompts.parquet": prompts_table(prompts)}), **models}
