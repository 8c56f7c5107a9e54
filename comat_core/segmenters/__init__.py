"""Segmenters that find nouns in images, all behind the protocol `Segmenter`.

Grounded-SAM's packages take seconds to import, so that each segmenter is imported from its own module.
"""
