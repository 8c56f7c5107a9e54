"""One training step: its inputs, its settings, which denoising steps keep a gradient, and when to stop training."""
