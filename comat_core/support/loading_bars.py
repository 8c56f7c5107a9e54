"""Load models without the libraries' progress bars for every file, which bury those of the stages."""

from collections.abc import Iterator
from contextlib import contextmanager

import diffusers.utils.logging as diffusers_logging
import huggingface_hub.utils as hub
import transformers.utils.logging as transformers_logging

LIBRARIES = (diffusers_logging, transformers_logging)


@contextmanager
def without_loading_bars() -> Iterator[None]:
    """Switch off the bars of loading, not those of downloading, and leave all as it was found."""
    enabled_before = [library for library in LIBRARIES if library.is_progress_bar_enabled()]
    downloads_shown = not hub.are_progress_bars_disabled()
    for library in LIBRARIES:
        library.disable_progress_bar()
    if downloads_shown:
        hub.enable_progress_bars()  # transformers takes them away with its own
    try:
        yield
    finally:
        for library in enabled_before:
            library.enable_progress_bar()
        if not downloads_shown:
            hub.disable_progress_bars()
