"""How far one set of images lies from another, by their features."""
