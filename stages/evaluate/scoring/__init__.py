"""The frame that all evaluations share: settings, one pass over the images, the summary."""
