"""Models that can stand in for each other: one class of settings per kind, which names what it needs and loads it.

The kinds of a role form a union, told apart by `kind`. A further one is a file beside the others of its role and a name
in that role's union; whatever asks which kinds there are, and what a run needs, reads it off the settings.
"""

from comat_core.settings import Settings


class Variant(Settings):
    """Settings of one kind of model. A subclass narrows `kind` to the literal that presets write."""

    kind: str
