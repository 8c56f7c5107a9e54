"""Sets of real images with captions, each in the layout of its publisher."""
