"""The models that presets name: of which kinds they are, where they lie, whether they can be used."""
