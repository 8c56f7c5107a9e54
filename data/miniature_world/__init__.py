"""A world small enough for a laptop: scenes of coloured shapes, their captions, and models trained on both."""
