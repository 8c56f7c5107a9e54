"""The models that presets name: where they lie, what they are, whether they can be used."""
