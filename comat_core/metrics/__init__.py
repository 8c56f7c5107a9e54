"""Scores: each module holds one protocol as pure functions on tensors, arrays and answers."""
