"""From a prompt to its entities, noun phrases and tokens."""
