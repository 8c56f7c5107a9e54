"""What training and drawing cost on a GPU, with the published architectures and no download; see docs/gpu.md."""
