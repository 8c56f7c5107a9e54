"""When an attack has succeeded."""

import re


def names_class(text: str, name: str) -> bool:
    """Whether a text holds the name of a class, as whole words in this order, capitals or not."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None


def is_success(text: str, name: str, is_recognised: bool) -> bool:
    """Whether the class is still named, and the classifier sees another one in the image.

    Args:
        text: the changed prompt.
        name: of the class.
        is_recognised: whether the class has the classifier's largest logit.
    """
    return not is_recognised and names_class(text, name)
