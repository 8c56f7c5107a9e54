"""How each of the shipped models is built and trained, from nothing."""
