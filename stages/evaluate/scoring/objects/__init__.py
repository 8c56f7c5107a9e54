"""Benchmarks that look for objects: detectors, boxes, and how two objects stand to each other."""
