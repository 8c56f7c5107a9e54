"""Evaluations: each module is a benchmark, from images to scores to a summary, and says in BENCHMARK what it is."""
