"""Artifacts and where they lie."""
