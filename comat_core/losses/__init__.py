"""The loss terms of Algorithm 1, a file each."""
