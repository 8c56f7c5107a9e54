"""What is asked beside runs: how trainings compare, which images people prefer, how anybody's model does, and so on."""
