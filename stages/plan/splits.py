"""The splits of the prompts that no benchmark declares, and the names of the nodes that draw the images of a split.

Facts that stages and the DAG share: the DAG loads the stages, and these must not need it in turn.
"""

EACH_OTHER = "*"
TRAIN = "train"
TEST = "test"
"""The split of the prompts that are held out and belong to no benchmark alone."""


def images_node(model: str, split: str = TEST) -> str:
    """The name of the node that draws a split's prompts with a model: base, tuned or, for each other one, a star."""
    return f"images.{model}" if split == TEST else f"images.{model}.{split}"
