"""Ablations: the same preset trained in several ways, with several seeds, and scored alike.

What the ways are is data (`data/ablations`). Which of them share work follows from their keys: only what a way of
training changes is computed for it.
"""
