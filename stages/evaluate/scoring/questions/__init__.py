"""Benchmarks that ask questions about images: their files, the answers, and how these add up."""
