"""User names and passwords in URLs: never shown, logged or written."""

import re

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s'\"]+@")


def without_credentials(text: str) -> str:
    """The text with what its URLs hold before the host taken out."""
    return _CREDENTIALS.sub("…@", text)
