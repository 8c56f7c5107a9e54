"""What a backbone makes of a prompt: embeddings, and the tokens of its words."""
