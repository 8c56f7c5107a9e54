"""What changes from step to step: parameters and optimisers, averages, the numbers still to be drawn, checkpoints."""
