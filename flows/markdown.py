"""Text of users and data sets inside Markdown: shown as it is, never read as markup.

Prefect's pages render an artifact's descriptions, Markdown and cells of tables; a prompt with a picture in it would
ask somebody's server for it whenever a run is looked at.
"""

import re

MARKUP = re.compile(r"[\\`*\[\]<>~@]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")
LINK = re.compile(r"\b(https?|ftp|mailto|xmpp):|\bwww\.", re.IGNORECASE)
BLOCK = re.compile(r"^(?:[-+=#](?!\w)|\d+[.)])")


def escape(text: str) -> str:
    """Text as a paragraph of Markdown, or as a cell of a table, in one line."""
    line = without_markup(" ".join(text.split())).replace("|", r"\|")
    return BLOCK.sub(lambda found: rf"{found[0][:-1]}\{found[0][-1]}", line)


def without_markup(line: str) -> str:
    """A line that is a table's row or plain text already, with nothing else in it that means anything."""
    escaped = MARKUP.sub(lambda found: rf"\{found[0]}", line)
    return LINK.sub(lambda found: rf"{found[0][:-1]}\{found[0][-1]}", escaped)


def link_target(url: str) -> str:
    """A URL as the target of a Markdown link."""
    return re.sub(r"[\s()<>\[\]\\]", lambda found: f"%{ord(found[0]):02X}", url)
