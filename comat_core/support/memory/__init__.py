"""Where tensors are kept, and how many bytes they take."""
