"""What rewards are called. No model library is imported here: planning reads it too."""


def reward_role(name: str) -> str:
    """What a reward of that name is called among a training's models, and its loss among the losses."""
    return f"reward/{name}"
