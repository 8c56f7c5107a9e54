"""The commands of `comat`, a module each: its arguments (`add_to`) and what it does."""
