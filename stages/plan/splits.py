"""The splits of the prompts, those that images are drawn of among them, and the names of the nodes that draw them.

Facts that stages and the DAG share: the DAG loads the stages, and these must not need it in turn.
"""

EACH_OTHER = "*"
TRAIN = "train"
TEST = "test"
SPLITS = (TEST, "fidelity", "tifa", "dpg", "dsg", "geneval")
"""The splits that images are drawn of: one per set of prompts, so that a benchmark waits for its own images alone."""


def images_node(model: str, split: str = TEST) -> str:
    """The name of the node that draws a split's prompts with a model: base, tuned or, for each other one, a star."""
    return f"images.{model}" if split == TEST else f"images.{model}.{split}"


def drawn_images(model: str) -> dict[str, str]:
    """Role in the report -> the node that plays it, for the images of all splits by a model."""
    nodes = [images_node(model, split) for split in SPLITS]
    return {node.replace("images.", "other." if model == EACH_OTHER else ""): node for node in nodes}
