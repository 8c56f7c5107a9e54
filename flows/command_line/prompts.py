"""Prompts that are given on the command line."""

import argparse

from comat_core.files.text_files import is_text
from comat_core.support.errors import UserError
from data.readers import LONGEST_PROMPT


def given_prompts(options: argparse.Namespace) -> list[str]:
    """Those of `--prompt`.

    Raises:
        UserError: one cannot be drawn.
    """
    prompts: list[str] = options.prompt
    if not all(prompt.strip() for prompt in prompts):
        raise UserError("a prompt is empty", "--prompt", "write what the image shall show")
    if not all(map(is_text, prompts)):
        raise UserError("a prompt is no text in UTF-8", "--prompt", "check the terminal's encoding")
    if max(map(len, prompts), default=0) > LONGEST_PROMPT:
        raise UserError(f"a prompt has more than {LONGEST_PROMPT:,} characters", "--prompt", "write a shorter one")
    return prompts
