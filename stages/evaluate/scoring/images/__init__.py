"""The images that evaluations read: generated ones, real ones, and their features."""
