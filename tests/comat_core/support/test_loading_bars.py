"""Loading is silent, downloading is not, and nothing stays switched off."""

import huggingface_hub.utils as hub

from comat_core.support.loading_bars import LIBRARIES, without_loading_bars


def test_only_loading_is_silent_and_only_inside() -> None:
    before = [library.is_progress_bar_enabled() for library in LIBRARIES], hub.are_progress_bars_disabled()
    with without_loading_bars():
        assert not any(library.is_progress_bar_enabled() for library in LIBRARIES)
        assert hub.are_progress_bars_disabled() == before[1]
    assert ([library.is_progress_bar_enabled() for library in LIBRARIES], hub.are_progress_bars_disabled()) == before
