"""Evaluation stages: one module per benchmark, each from the same two sets of images to one summary."""
