"""From noise to an image: schedulers, the denoising loop, and the states that it passes through."""
