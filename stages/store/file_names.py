"""File names made from names of the user's choice, which may be longer than file systems take."""

from stages.plan.digests import digest_bytes

LONGEST_NAME = 255
"""Bytes, on every usual file system."""
DIGEST_LENGTH = 16


def fitting_name(name: str, ending: str = "") -> str:
    """A name with an ending, cut to what file systems take; a digest of the whole stands for what is left out."""
    whole = (name + ending).encode()
    if len(whole) <= LONGEST_NAME:
        return name + ending
    mark = f"~{digest_bytes(name.encode())[:DIGEST_LENGTH]}{ending}"
    return name.encode()[: LONGEST_NAME - len(mark.encode())].decode(errors="ignore") + mark
