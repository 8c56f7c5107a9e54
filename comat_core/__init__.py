"""The kernel every stage shares: tensors in, tensors out."""
